/**
 * How text is cut before bytes are merged, by tokenizer.ggml.pre. The expressions are those of the models' own tokenizer.json files;
 * of "default" those that llama.cpp uses for it.
 */
import type { JsonObject } from '#platform/json-object.ts';

export interface PreTokenizer {
  readonly normalizer: JsonObject | null;
  readonly steps: readonly JsonObject[];
  /** A piece that is a token as a whole is that token, whatever merges would make of it. */
  readonly ignoreMerges: boolean;
  /** Text begins with the first token unless the file says otherwise. */
  readonly addsBos: boolean;
}

function split(expression: string): JsonObject {
  return { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false };
}

function bytes(cutsWords: boolean): JsonObject {
  return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: cutsWords };
}

const digits: JsonObject = { type: 'Digits', individual_digits: true };

function preTokenizer(steps: readonly JsonObject[], traits: Partial<PreTokenizer> = {}): PreTokenizer {
  return { normalizer: null, steps, ignoreMerges: false, addsBos: false, ...traits };
}

function bySplits(expressions: readonly string[], traits?: Partial<PreTokenizer>): PreTokenizer {
  return preTokenizer([...expressions.map(split), bytes(false)], traits);
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const blanks = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`;

/** Words with the character before them, so many digits, punctuation with line ends, blanks. */
function words(number: string): string {
  return String.raw`${contractions}|[^\r\n\p{L}\p{N}]?\p{L}+|${number}| ?[^\s\p{L}\p{N}]+[\r\n]*|${blanks}`;
}

/** Words also end where capitals begin. `upper` and `lower` are classes of letters. */
function cased(upper: string, lower: string, number: string, rest: string, suffix: string): string {
  const before = String.raw`[^\r\n\p{L}\p{N}]?`;
  return `${before}${upper}*${lower}+${suffix}|${before}${upper}+${lower}*${suffix}|${number}|${rest}|${blanks}`;
}

const upper = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const lower = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const slashed = String.raw` ?[^\s\p{L}\p{N}]+[\r\n/]*`;
const plain = String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*`;
const threeDigits = String.raw`\p{N}{1,3}`;
const oneDigit = String.raw`\p{N}`;
const notHan = (letters: string): string => String.raw`(?:(?!\p{Han})${letters})`;

const gpt4o = cased(upper, lower, threeDigits, slashed, `${contractions}?`);
const kimi = String.raw`\p{Han}+|${cased(notHan(upper), notHan(lower), threeDigits, plain, `${contractions}?`)}`;

const deepseek3 = [
  threeDigits,
  '[一-龥぀-ゟ゠-ヿ]+',
  '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+',
];

/** Letters with case, of the Unicode that DeepSeek's first tokenizers were made with. */
const casedLetters =
  'A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃';

const deepseek1 = preTokenizer([
  split('[\r\n]'),
  split(`\\s?[${casedLetters}]+`),
  split('\\s?[!-/:-~！-／：-～‘-‟　-。]+'),
  split('\\s+$'),
  split('[一-龥ࠀ-一가-퟿]+'),
  digits,
  bytes(false),
]);

const deepseekCoder = preTokenizer([
  split('[\r\n]'),
  split('\\s?\\p{L}+'),
  split('\\s?\\p{P}+'),
  split('[一-龥ࠀ-一가-퟿]+'),
  digits,
  bytes(false),
]);

const llama3 = bySplits([words(threeDigits)], { ignoreMerges: true, addsBos: true });
const glm = bySplits([words(threeDigits)], { ignoreMerges: true });
const qwen2 = bySplits([words(oneDigit)], { normalizer: { type: 'NFC' } });
const tekken = bySplits([cased(upper, lower, oneDigit, slashed, '')], { ignoreMerges: true, addsBos: true });
const gpt2 = preTokenizer([bytes(true)]);
const starcoder = preTokenizer([digits, bytes(true)]);

/** Of llama.cpp, for vocabularies that it does not know. */
const unnamed = bySplits([
  String.raw`[\p{P}\$\+<=>\^~\|]+`,
  String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`,
  String.raw`\p{N}+`,
  '[0-9][0-9][0-9]',
]);

export const preTokenizers: ReadonlyMap<string, PreTokenizer> = new Map([
  ['default', unnamed],
  ['llama-bpe', llama3],
  ['llama3', llama3],
  ['llama-v3', llama3],
  ['qwen2', qwen2],
  ['deepseek-r1-qwen', bySplits([words(oneDigit)])],
  ['deepseek-llm', deepseek1],
  ['deepseek-coder', deepseekCoder],
  ['deepseek-v3', bySplits(deepseek3)],
  ['gpt-4o', bySplits([gpt4o])],
  ['kimi-k2', bySplits([kimi], { ignoreMerges: true })],
  ['glm4', glm],
  ['glm5', glm],
  ['tekken', tekken],
  ['smollm', starcoder],
  ['starcoder', starcoder],
  ['gpt-2', gpt2],
]);
