/** From the metadata of a GGUF file to the files of a Hugging Face tokenizer. */
import { TriremeError } from '#platform/errors.ts';
import type { JsonObject } from '#platform/json-object.ts';
import type { Metadata } from '../metadata.ts';
import { byteLevelModel } from './byte-level.ts';
import { chatTemplates } from './chat-templates.ts';
import { sentencePieceModel } from './sentence-pieces.ts';
import type { TokenizerModel } from './tokenizer-model.ts';
import { endTokensOf } from './vocabulary.ts';

/** Contents by file name, for JSON.stringify. */
export interface TokenizerFiles {
  readonly 'tokenizer.json': JsonObject;
  readonly 'tokenizer_config.json': JsonObject;
  readonly 'generation_config.json': JsonObject & { readonly eos_token_id: readonly number[] };
}

const modelKey = 'tokenizer.ggml.model';

/** By tokenizer.ggml.model. */
const models: ReadonlyMap<string, (metadata: Metadata, vocabularySize: number) => TokenizerModel> = new Map([
  ['gpt2', byteLevelModel],
  ['llama', sentencePieceModel],
]);

/**
 * `vocabularySize` is that of the embedding table. Errors: MISSING_TOKENIZER without a vocabulary; INVALID_CHECKPOINT for one that is
 * odd or of a kind that is not known.
 */
export function tokenizerFilesOf(metadata: Metadata, vocabularySize: number): TokenizerFiles {
  const tokenizer = modelOf(metadata)(metadata, vocabularySize);
  const { tokens, roles } = tokenizer.vocabulary;
  const adds = (name: string, usual: boolean): boolean => metadata.flag(`tokenizer.ggml.${name}`) ?? usual;
  const bos = adds('add_bos_token', tokenizer.addsBos) ? roles.bos : undefined;
  const eos = adds('add_eos_token', false) ? roles.eos : undefined;
  const text = (id: number | undefined): string | undefined => (id === undefined ? undefined : tokens[id]);
  return {
    'tokenizer.json': tokenizerJson(tokenizer, bos, eos),
    'tokenizer_config.json': present({
      add_bos_token: bos !== undefined,
      add_eos_token: eos !== undefined,
      clean_up_tokenization_spaces: false,
      bos_token: text(roles.bos),
      eos_token: text(roles.eos),
      unk_token: text(roles.unknown),
      pad_token: text(roles.padding),
      chat_template: chatTemplates(metadata),
    }),
    'generation_config.json': { ...samplingOf(metadata), eos_token_id: endTokensOf(tokenizer.vocabulary) },
  };
}

function modelOf(metadata: Metadata): (metadata: Metadata, vocabularySize: number) => TokenizerModel {
  const name = metadata.text(modelKey) ?? 'none';
  const model = models.get(name);
  if (model) return model;
  if (name === 'none' || name === 'no_vocab') {
    throw new TriremeError('MISSING_TOKENIZER', `${metadata.file} has no vocabulary`, {
      remedy: 'Fetch a conversion of the model with its vocabulary',
    });
  }
  throw metadata.unsupported(modelKey, [...models.keys()].join(', '));
}

function present(fields: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function tokenizerJson(tokenizer: TokenizerModel, bos: number | undefined, eos: number | undefined): JsonObject {
  const { vocabulary, normalizer, preTokenizer, decoder, model } = tokenizer;
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = vocabulary.tokens.flatMap((content, id) => {
    const kind = vocabulary.kinds[id];
    const special = kind === 'control' || kind === 'unknown';
    return special || kind === 'user' ? [{ id, content, ...flags, special }] : [];
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer,
    pre_tokenizer: preTokenizer,
    post_processor: frame(vocabulary.tokens, bos, eos),
    decoder,
    model,
  };
}

/** What stands around a text. */
function frame(tokens: readonly string[], bos: number | undefined, eos: number | undefined): JsonObject | null {
  const framing = [bos, eos].filter((id) => id !== undefined);
  if (framing.length === 0) return null;
  const special = (id: number | undefined, type: number): JsonObject[] =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: type } }];
  const sequence = (name: string, type: number): JsonObject[] => [
    ...special(bos, type),
    { Sequence: { id: name, type_id: type } },
    ...special(eos, type),
  ];
  return {
    type: 'TemplateProcessing',
    single: sequence('A', 0),
    pair: [...sequence('A', 0), ...sequence('B', 1)],
    special_tokens: Object.fromEntries(
      framing.map((id) => [tokens[id]!, { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}

/** From the names of llama.cpp to those of generation_config.json. */
const samplingNames: Readonly<Record<string, string>> = {
  temp: 'temperature',
  top_k: 'top_k',
  top_p: 'top_p',
  min_p: 'min_p',
  penalty_repeat: 'repetition_penalty',
};

function samplingOf(metadata: Metadata): JsonObject {
  const found = Object.entries(samplingNames).flatMap(([name, field]) => {
    const value = metadata.number(`general.sampling.${name}`);
    return value === undefined ? [] : [[field, value] as const];
  });
  return found.length === 0 ? {} : { do_sample: true, ...Object.fromEntries(found) };
}
