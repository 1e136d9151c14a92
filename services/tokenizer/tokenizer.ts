/**
 * Text to token ids and back, by the tokenizer.json of a package.
 *
 *   const tokenizer = await loadTokenizer(folder);
 *   const { ids } = tokenizer.chat({ messages: [{ role: 'user', content: 'What is 17 + 25?' }] });
 *   const stream = tokenizer.createDetokenizer();
 *   for (const id of answer) print(stream.push(id));
 *   print(stream.end());
 */
import path from 'node:path';
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import { TriremeError } from '#platform/errors.ts';
import { isJsonObject, type JsonObject } from '#platform/json-object.ts';
import type { Conversation, NamedTokens } from './chat-template.ts';
import type { StageMaker } from './decode-stages.ts';
import { compileDecoder } from './decoder.ts';
import { createDetokenizer, type Detokenizer, type TokenPiece } from './detokenizer.ts';
import { malformed, readPackageJson, readPackageText } from './package-files.ts';
import { TemplateChoice, type TemplateSources, templatesOfConfig } from './template-choice.ts';
import { findTurnEnd } from './template-probe.ts';

export type { ChatTurn, Conversation, ToolDefinition } from './chat-template.ts';
export type { Detokenizer } from './detokenizer.ts';

export interface DetokenizerOptions {
  /** The stream goes on a prompt that was text: a leading space of its first token counts. Default false. */
  readonly continues?: boolean;
  /** Special tokens (end of turn, padding, ...) that appear in the text: all, none, or those it says. Default none. */
  readonly showsSpecial?: boolean | ((text: string) => boolean);
}

export interface Tokenizer {
  /** Special tokens that the tokenizer puts around a text (beginning of sequence) included. */
  encode(text: string): number[];
  /** Errors: INVALID_ARGUMENT without a chat template, or for a conversation that it refuses. */
  chat(conversation: Conversation): { readonly text: string; readonly ids: number[] };
  createDetokenizer(options?: DetokenizerOptions): Detokenizer;
  /** All at once; the same as a stream's pieces together. */
  decode(ids: Iterable<number>, options?: DetokenizerOptions): string;
  readonly specialTokens: ReadonlySet<number>;
  /** Ends the assistant's turn by the chat template; undefined: it shows none. */
  readonly turnEnd: number | undefined;
  /** What tells how the model marks reasoning and calls: its templates, and the texts of its added tokens. */
  readonly markup: Markup;
  /** Characters of the longest token: a bound on what a prompt of so many tokens can hold. */
  readonly longestToken: number;
}

export interface Markup {
  readonly templates: readonly string[];
  readonly tokens: ReadonlySet<string>;
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
    templates:
      template === undefined
        ? named(folder, 'tokenizer_config.json', () => compileTemplates(templatesOfConfig(config), tokens))
        : named(folder, 'chat_template.jinja', () =>
            compileTemplates({ usual: template, withTools: undefined }, tokens),
          ),
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

function compileTemplates(sources: TemplateSources | undefined, tokens: NamedTokens): TemplateChoice | undefined {
  return sources && new TemplateChoice(sources, tokens);
}

interface Parts {
  readonly encoder: Encoder;
  readonly decoder: StageMaker;
  readonly addsBos: boolean | undefined;
  readonly tokens: NamedTokens;
  readonly templates: TemplateChoice | undefined;
  readonly folder: string;
}

class PackageTokenizer implements Tokenizer {
  readonly specialTokens: ReadonlySet<number>;
  readonly turnEnd: number | undefined;
  readonly markup: Markup;
  readonly longestToken: number;
  readonly #parts: Parts;
  readonly #bos: number | undefined;
  /** By id, filled as tokens occur; null: no such token. */
  readonly #pieces = new Map<number, TokenPiece | null>();

  constructor(parts: Parts) {
    const { encoder, tokens, templates } = parts;
    this.#parts = parts;
    const { bos_token: bos } = tokens;
    this.#bos = bos === undefined ? undefined : encoder.token_to_id(bos);
    const added = [...encoder.get_added_tokens_decoder().values()];
    const special = [...added.filter((token) => token.special).map(({ content }) => content), ...Object.values(tokens)];
    this.specialTokens = new Set(special.map((text) => encoder.token_to_id(text)).filter((id) => id !== undefined));
    const turnEnd = templates && findTurnEnd(templates.usual.render, special);
    this.turnEnd = turnEnd === undefined ? undefined : encoder.token_to_id(turnEnd);
    this.markup = {
      templates: templates ? [templates.usual.source, templates.withTools.source] : [],
      tokens: new Set(added.map(({ content }) => content)),
    };
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

  chat(conversation: Conversation): { text: string; ids: number[] } {
    const { encoder, templates, folder } = this.#parts;
    if (!templates) {
      throw new TriremeError('INVALID_ARGUMENT', `the model in ${path.basename(folder)} has no chat template`, {
        remedy: 'send the prompt as text or token ids',
      });
    }
    const text = templates.for(conversation).prompt(conversation);
    return { text, ids: encoder.encode(text, { add_special_tokens: false }).ids };
  }

  createDetokenizer({ continues = false, showsSpecial = false }: DetokenizerOptions = {}): Detokenizer {
    const shows = typeof showsSpecial === 'function' ? showsSpecial : () => showsSpecial;
    const lookUp = (id: number): TokenPiece | undefined => {
      const piece = this.#pieceOf(id);
      return piece && this.specialTokens.has(id) && !shows(piece.content) ? undefined : piece;
    };
    return createDetokenizer(lookUp, this.#parts.decoder, continues);
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
      piece = content === undefined ? null : { content, verbatim: this.markup.tokens.has(content) };
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
