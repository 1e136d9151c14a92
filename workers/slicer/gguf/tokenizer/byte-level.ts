/** Vocabularies of merged bytes (tokenizer.ggml.model gpt2): tokens are written in the byte alphabet of GPT-2. */
import { TriremeError } from '#platform/errors.ts';
import type { JsonObject } from '#platform/json-object.ts';
import type { Metadata } from '../metadata.ts';
import { type PreTokenizer, preTokenizers } from './pre-tokenizers.ts';
import type { TokenizerModel } from './tokenizer-model.ts';
import { readVocabulary, type Vocabulary } from './vocabulary.ts';

const preKey = 'tokenizer.ggml.pre';
const mergesKey = 'tokenizer.ggml.merges';

/** Errors: as readVocabulary; INVALID_CHECKPOINT for a way of cutting text that is not known, and merges that lead nowhere. */
export function byteLevelModel(metadata: Metadata, vocabularySize: number): TokenizerModel {
  const pre = preTokenizerOf(metadata);
  const vocabulary = readVocabulary(metadata, vocabularySize, {});
  const decoder = { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true };
  return {
    vocabulary,
    addsBos: pre.addsBos,
    normalizer: pre.normalizer,
    preTokenizer: { type: 'Sequence', pretokenizers: pre.steps },
    decoder,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      vocab: Object.fromEntries(vocabulary.ids),
      merges: readMerges(metadata, vocabulary),
    } satisfies JsonObject,
  };
}

function preTokenizerOf(metadata: Metadata): PreTokenizer {
  const name = metadata.text(preKey);
  const known = [...preTokenizers.keys()].join(', ');
  if (name === undefined) {
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `${metadata.file}: the metadata has no ${preKey}: how text is cut is not known`,
      {
        remedy: 'Fetch a newer conversion of the model',
      },
    );
  }
  const found = preTokenizers.get(name);
  if (!found) throw metadata.unsupported(preKey, known);
  return found;
}

/** Pairs of tokens, the first ones first. */
function readMerges(metadata: Metadata, { ids }: Vocabulary): readonly (readonly [string, string])[] {
  const merges = metadata.texts(mergesKey);
  if (!merges) throw metadata.missing(mergesKey);
  return merges.map((merge) => {
    const space = merge.indexOf(' ', 1);
    const pair = [merge.slice(0, space), merge.slice(space + 1)] as const;
    if (space > 0 && ids.has(pair.join(''))) return pair;
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `${metadata.file}: ${mergesKey} holds ${JSON.stringify(merge)}, which does not make a token of two`,
      { remedy: 'Fetch the file again' },
    );
  });
}
