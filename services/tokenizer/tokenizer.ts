/**
 * Text to token ids and back, by the tokenizer.json of a package.
 *
 *   const tokenizer = await loadTokenizer(folder);
 *   const { ids } = tokenizer.chat([{ role: 'user', content: 'What is 17 + 25?' }]);
 *   const stream = tokenizer.createDetokenizer();
 *   for (const id of answer) print(stream.push(id));
 *   print(stream.end());
 */
import path from 'node:path';
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import { TriremeError } from '#platform/errors.ts';
import { ChatTemplate, type ChatTurn, type NamedTokens, templateOfConfig } from './chat-template.ts';
import type { StageMaker } from './decode-stages.ts';
import { compileDecoder } from './decoder.ts';
import { createDetokenizer, type Detokenizer, type TokenPiece } from './detokenizer.ts';
import { isJsonObject, type JsonObject, malformed, readPackageJson, readPackageText } from './package-files.ts';

export type { ChatTurn } from './chat-template.ts';
export type { Detokenizer } from './detokenizer.ts';

export interface DetokenizerOptions {
  /** The stream goes on a prompt that was text: a leading space of its first token counts. Default false. */
  readonly continues?: boolean;
  /** Special tokens (end of turn, padding, ...) appear in the text. Default false. */
  readonly showsSpecial?: boolean;
}

export interface Tokenizer {
  /** Special tokens that the tokenizer puts around a text (beginning of sequence) included. */
  encode(text: string): number[];
  /** Errors: INVALID_ARGUMENT without a chat template, or for a conversation that it refuses. */
  chat(messages: readonly ChatTurn[]): { readonly text: string; readonly ids: number[] };
  createDetokenizer(options?: DetokenizerOptions): Detokenizer;
  /** All at once; the same as a stream's pieces together. */
  decode(ids: Iterable<number>, options?: DetokenizerOptions): string;
  readonly specialTokens: ReadonlySet<number>;
  /** Characters of the longest token: a bound on what a prompt of so many tokens can hold. */
  readonly longestToken: number;
}

/** Errors: MISSING_TOKENIZER without tokenizer.json, INVALID_CHECKPOINT naming the malformed file, IO_ERROR. */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  const [definition, config = {}, template] = await Promise.all([
    readPackageJson(folder, 'tokenizer.json'),
    readPackageJson(folder, 'tokenizer_config.json'),
    readPackageText(folder, 'chat_template.jinja'),
  ]);
  if (!definition) {
    throw new TriremeError('MISSING_TOKENIZER', `${folder} has no tokenizer.json`, {
      remedy: 'copy it from the original checkpoint, and slice again if this is a package',
    });
  }
  const tokens = namedTokens(config);
  return new PackageTokenizer({
    folder,
    tokens,
    addsBos: typeof config.add_bos_token === 'boolean' ? config.add_bos_token : undefined,
    encoder: named(folder, 'tokenizer.json', () => new Encoder({ ...emptyDefinition, ...definition }, config)),
    decoder: named(folder, 'tokenizer.json', () => compileDecoder(definition.decoder)),
    chatTemplate:
      template === undefined
        ? named(folder, 'tokenizer_config.json', () => compileTemplate(templateOfConfig(config), tokens))
        : named(folder, 'chat_template.jinja', () => compileTemplate(template, tokens)),
  });
}

/** What a tokenizer.json may leave out and its reader asks for. */
const emptyDefinition = { added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null };

/** Whatever making it throws is the file's fault. */
function named<T>(folder: string, name: string, make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw malformed(path.join(folder, name), cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function compileTemplate(source: string | undefined, tokens: NamedTokens): ChatTemplate | undefined {
  return source === undefined ? undefined : new ChatTemplate(source, tokens);
}

interface Parts {
  readonly encoder: Encoder;
  readonly decoder: StageMaker;
  readonly addsBos: boolean | undefined;
  readonly tokens: NamedTokens;
  readonly chatTemplate: ChatTemplate | undefined;
  readonly folder: string;
}

class PackageTokenizer implements Tokenizer {
  readonly specialTokens: ReadonlySet<number>;
  readonly longestToken: number;
  readonly #parts: Parts;
  readonly #bos: number | undefined;
  readonly #addedTokens: ReadonlySet<string>;
  /** By id, filled as tokens occur; null: no such token. */
  readonly #pieces = new Map<number, TokenPiece | null>();

  constructor(parts: Parts) {
    const { encoder, tokens } = parts;
    this.#parts = parts;
    const { bos_token: bos } = tokens;
    this.#bos = bos === undefined ? undefined : encoder.token_to_id(bos);
    const added = [...encoder.get_added_tokens_decoder().values()];
    this.#addedTokens = new Set(added.map(({ content }) => content));
    const named = Object.values(tokens).map((token) => encoder.token_to_id(token));
    this.specialTokens = new Set([
      ...added.filter(({ special }) => special).map(({ id }) => id),
      ...named.filter((id) => id !== undefined),
    ]);
    let longest = 1;
    for (const token of encoder.get_vocab().keys()) longest = Math.max(longest, token.length);
    this.longestToken = longest;
  }

  encode(text: string): number[] {
    const { encoder, addsBos } = this.#parts;
    const { ids } = encoder.encode(text, { add_special_tokens: addsBos !== false });
    // Some checkpoints leave it to their tokenizer's class to put it there.
    return addsBos && this.#bos !== undefined && ids[0] !== this.#bos ? [this.#bos, ...ids] : ids;
  }

  chat(messages: readonly ChatTurn[]): { text: string; ids: number[] } {
    const { encoder, chatTemplate, folder } = this.#parts;
    if (!chatTemplate) {
      throw new TriremeError('INVALID_ARGUMENT', `the model in ${path.basename(folder)} has no chat template`, {
        remedy: 'send the prompt as text or token ids',
      });
    }
    const text = chatTemplate.render(messages);
    return { text, ids: encoder.encode(text, { add_special_tokens: false }).ids };
  }

  createDetokenizer({ continues = false, showsSpecial = false }: DetokenizerOptions = {}): Detokenizer {
    const all = (id: number): TokenPiece | undefined => this.#pieceOf(id);
    const plain = (id: number): TokenPiece | undefined => (this.specialTokens.has(id) ? undefined : this.#pieceOf(id));
    return createDetokenizer(showsSpecial ? all : plain, this.#parts.decoder, continues);
  }

  decode(ids: Iterable<number>, options?: DetokenizerOptions): string {
    const stream = this.createDetokenizer(options);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  #pieceOf(id: number): TokenPiece | undefined {
    let piece = this.#pieces.get(id);
    if (piece === undefined) {
      const content = this.#parts.encoder.id_to_token(id);
      piece = content === undefined ? null : { content, verbatim: this.#addedTokens.has(content) };
      // Bounded by the vocabulary: ids outside it are not kept.
      if (piece) this.#pieces.set(id, piece);
    }
    return piece ?? undefined;
  }
}

const tokenRoles = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'];

/** Special tokens by role; written as a text or as an object with its content. */
function namedTokens(config: JsonObject): NamedTokens {
  const entries = tokenRoles.flatMap((role) => {
    const value = config[role];
    const content = isJsonObject(value) ? value.content : value;
    return typeof content === 'string' ? [[role, content] as const] : [];
  });
  return Object.fromEntries(entries);
}
