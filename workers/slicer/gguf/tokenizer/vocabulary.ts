/** The vocabulary in a GGUF file's metadata: tokens, what each is, and which have a role. */
import { TriremeError } from '#platform/errors.ts';
import type { Metadata } from '../metadata.ts';

/** tokenizer.ggml.token_type. */
export type TokenKind = 'normal' | 'unknown' | 'control' | 'user' | 'unused' | 'byte';

const kinds: readonly (TokenKind | undefined)[] = [undefined, 'normal', 'unknown', 'control', 'user', 'unused', 'byte'];

/** Ids of those that are there. */
export interface Roles {
  readonly bos?: number;
  readonly eos?: number;
  readonly unknown?: number;
  readonly padding?: number;
  /** Ends a turn, or a message within one. */
  readonly endOfTurn?: number;
  readonly endOfMessage?: number;
}

export interface Vocabulary {
  /** By id. */
  readonly tokens: readonly string[];
  readonly kinds: readonly TokenKind[];
  readonly ids: ReadonlyMap<string, number>;
  readonly roles: Roles;
}

const key = (name: string): string => `tokenizer.ggml.${name}`;

/** `size` is that of the embedding table. Errors: MISSING_TOKENIZER without tokens, INVALID_CHECKPOINT. */
export function readVocabulary(metadata: Metadata, size: number, usual: Roles): Vocabulary {
  const tokens = metadata.texts(key('tokens'));
  if (!tokens) {
    throw new TriremeError('MISSING_TOKENIZER', `${metadata.file}: the metadata has no ${key('tokens')}`, {
      remedy: 'Fetch a conversion of the model with its vocabulary',
    });
  }
  if (tokens.length === 0 || tokens.length > size) {
    throw metadata.odd(key('tokens'), `1 to ${size} tokens, as the model has rows`);
  }
  return {
    tokens,
    kinds: readKinds(metadata, tokens),
    ids: idsOf(metadata, tokens),
    roles: readRoles(metadata, tokens, usual),
  };
}

function readKinds(metadata: Metadata, tokens: readonly string[]): readonly TokenKind[] {
  const numbers = metadata.numbers(key('token_type'));
  if (!numbers) return tokens.map(() => 'normal');
  if (numbers.length !== tokens.length)
    throw metadata.odd(key('token_type'), `one for each of ${tokens.length} tokens`);
  return numbers.map((number) => {
    const kind = kinds[number];
    if (kind === undefined) throw metadata.unsupported(key('token_type'), 'types 1 to 6');
    return kind;
  });
}

/** A tokenizer.json finds a token by its text: there cannot be two of one. */
function idsOf(metadata: Metadata, tokens: readonly string[]): ReadonlyMap<string, number> {
  const ids = new Map(tokens.map((token, id) => [token, id]));
  if (ids.size === tokens.length) return ids;
  const twice = tokens.findIndex((token, id) => ids.get(token) !== id);
  throw new TriremeError(
    'INVALID_CHECKPOINT',
    `${metadata.file}: the tokens ${twice} and ${ids.get(tokens[twice]!)} are both ${JSON.stringify(tokens[twice])}`,
    { remedy: 'Fetch another conversion of the model' },
  );
}

function readRoles(metadata: Metadata, tokens: readonly string[], usual: Roles): Roles {
  const isToken = (id: number | undefined): id is number => id !== undefined && id < tokens.length;
  const required = (name: string, otherwise?: number): number | undefined => {
    const id = metadata.count(key(name)) ?? otherwise;
    if (id !== undefined && !isToken(id)) throw metadata.odd(key(name), `a token below ${tokens.length}`);
    return id;
  };
  /** Files have ids for these that mean none. */
  const optional = (name: string, otherwise?: number): number | undefined => {
    const id = metadata.scalar(key(name)) ?? otherwise;
    return typeof id === 'number' && Number.isInteger(id) && id >= 0 && isToken(id) ? id : undefined;
  };
  const roles = {
    bos: required('bos_token_id', usual.bos),
    eos: required('eos_token_id', usual.eos),
    unknown: optional('unknown_token_id', usual.unknown),
    padding: optional('padding_token_id'),
    endOfTurn: required('eot_token_id'),
    endOfMessage: required('eom_token_id'),
  };
  return Object.fromEntries(Object.entries(roles).filter(([, id]) => id !== undefined));
}

/** Control tokens that end what a model says, whatever the file names as the end: llama.cpp stops at them too. */
const endings: ReadonlySet<string> = new Set([
  '</s>',
  '<|im_end|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|return|>',
  '<|call|>',
  '<|end_of_sentence|>',
  '<｜end▁of▁sentence｜>',
  '[EOS]',
  '[EOT]',
]);

/** Ids that end a turn, the named ones first. */
export function endTokensOf({ tokens, kinds: kindOf, roles }: Vocabulary): readonly number[] {
  const named = [roles.eos, roles.endOfTurn, roles.endOfMessage].filter((id) => id !== undefined);
  const byText = [...tokens.keys()].filter((id) => kindOf[id] === 'control' && endings.has(tokens[id]!));
  return [...new Set([...named, ...byText])];
}
