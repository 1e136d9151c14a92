/** Tokenizers made from GGUF metadata, against those of released models from which the metadata was made. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPlainFile } from '../../../../services/platform/plain-file.ts';
import { loadTokenizer, type Tokenizer } from '../../../../services/tokenizer/tokenizer.ts';
import type { Metadata as Entries } from '../../../../test/fixtures/gguf-checkpoint.ts';
import { type VocabularyOptions, vocabularyOf } from '../../../../test/fixtures/gguf-vocabulary.ts';
import {
  f32,
  flag,
  floats,
  type GgufValue,
  i32,
  integers,
  text,
  texts,
  u32,
  writeGguf,
} from '../../../../test/fixtures/gguf-writer.ts';
import { pieceTokenizer, realTokenizers } from '../../../../test/fixtures/real-tokenizers.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../../test/fixtures/tiny-checkpoint.ts';
import { readGgufHeader } from '../header.ts';
import { Metadata } from '../metadata.ts';
import { tokenizerFilesOf } from './gguf-tokenizer.ts';

let scratch: TemporaryFolder;
beforeAll(async () => {
  scratch = await temporaryFolder();
});
afterAll(() => scratch[Symbol.asyncDispose]());

/** By way of a file, as they come. */
async function metadataOf(entries: Entries): Promise<Metadata> {
  const file = path.join(scratch.path, 'model.gguf');
  await writeGguf(file, { metadata: entries, tensors: [] });
  await using handle = (await openPlainFile(file))!;
  return new Metadata((await readGgufHeader(handle, 'model.gguf')).metadata, 'model.gguf');
}

async function tokenizerOf(entries: Entries, size: number): Promise<Tokenizer> {
  const files = tokenizerFilesOf(await metadataOf(entries), size);
  for (const [name, json] of Object.entries(files)) {
    await writeFile(path.join(scratch.path, name), JSON.stringify(json));
  }
  return loadTokenizer(scratch.path);
}

const hardTexts = [
  '',
  ' ',
  '   leading and trailing   ',
  'Hello, world!',
  "I'm sure they'll say it's what we've DONE'VE'd",
  'camelCaseWords and SCREAMING_SNAKE and kebab-case',
  '1234567890 12 345 6789 3.14159 1,000,000 ½ ²³ ٣٤٥ Ⅻ',
  'a\nb\r\nc\n\n\nd\t\te \n \n  f',
  'if (x >= 1) {\n    return x**2 - y[0]; // done\n}\n',
  '语言模型很有用。日本語のテキスト、ひらがなカタカナ。한국어 문장',
  'Ελληνικά Русский עברית العربية हिन्दी ไทย',
  'naïve café résumé A\u030angstro\u0308m e\u0301\u0301',
  '👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇭 😀😀😀',
  '…“quoted” – dashes — and ‘more’ ﷽ ẞ ǅ',
  '\u00a0nbsp\u2003em\u3000ideographic\u200bzero\ufeffbom',
  '\u0000\u0001\u001f\u007f\u0085\u2028',
  '~!@#$%^&*()_+-=[]{}|;:",.<>/?`\\',
  '𝕳𝖊𝖑𝖑𝖔 𐐀𐐨 𠀋',
  'http://example.com/path?query=1&other=ü#frag',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  '<unk> <s> </s> <0x0A> ▁ ▁▁',
  '<|im_start|>user\nhi<|im_end|><think>\n</think><tool_call>',
  '<｜User｜>x<｜Assistant｜>y<｜end▁of▁sentence｜>',
  'Ġ Ċ âĢĻ',
];

const released: readonly (VocabularyOptions & { readonly name: string; readonly folder: string })[] = [
  { name: 'Qwen3', folder: realTokenizers.Qwen, model: 'gpt2', pre: 'qwen2', size: 151_936 },
  { name: 'DeepSeek-V3', folder: realTokenizers.DeepSeek, model: 'gpt2', pre: 'deepseek-v3', size: 129_280 },
  { name: 'Llama 2', folder: pieceTokenizer, model: 'llama', pre: 'default', size: 32_000 },
];

describe.each(released)('the vocabulary of $name', (options) => {
  let rebuilt: Tokenizer;
  let original: Tokenizer;
  beforeAll(async () => {
    original = await loadTokenizer(options.folder);
    rebuilt = await tokenizerOf(await vocabularyOf(options.folder, options), options.size);
  });

  it.each(hardTexts)('encodes %j as the original does, and back', (hard) => {
    const ids = original.encode(hard);
    expect(rebuilt.encode(hard)).toEqual(ids);
    expect(rebuilt.decode(ids, { showsSpecial: true })).toBe(original.decode(ids, { showsSpecial: true }));
  });

  it('has the same added tokens, chat and end of turn', () => {
    expect(rebuilt.markup.tokens).toEqual(original.markup.tokens);
    expect(rebuilt.markup.templates).toEqual(original.markup.templates);
    expect(rebuilt.turnEnd).toBe(original.turnEnd);
    expect([...original.specialTokens].filter((id) => !rebuilt.specialTokens.has(id))).toEqual([]);
    if (original.markup.templates.length === 0) return;
    const conversation = { messages: [{ role: 'user', content: 'What is 17 + 25?' }] };
    expect(rebuilt.chat(conversation)).toEqual(original.chat(conversation));
  });
});

/** Tokens in the order in which they are first made, each with all ways to make it. */
function waysByToken(merges: readonly string[]): readonly (readonly [token: string, ways: readonly string[]])[] {
  const ways = Map.groupBy(merges, (merge) => merge.replace(' ', ''));
  return [...ways].map(([token, ofToken]) => [token, ofToken.toSorted()]);
}

it('makes the merges of Llama 2 out of its scores', async () => {
  const llama = released[2]!;
  const files = tokenizerFilesOf(await metadataOf(await vocabularyOf(llama.folder, llama)), llama.size);
  const { merges } = files['tokenizer.json'].model as { merges: readonly (readonly [string, string])[] };
  const original = JSON.parse(await readFile(path.join(llama.folder, 'tokenizer.json'), 'utf8'));
  expect(waysByToken(merges.map((pair) => pair.join(' ')))).toEqual(waysByToken(original.model.merges));
});

/** A vocabulary of bytes, in which a test changes what it is about. */
const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
const pieces = ['<unk>', '<s>', '</s>', ...bytes, '▁', 'a', 'b', 'ab', '▁a'];
const pieceTypes = [2, 3, 3, ...bytes.map(() => 6), 1, 1, 1, 1, 1];
const plainPieces: Readonly<Record<string, GgufValue | undefined>> = {
  'tokenizer.ggml.model': text('llama'),
  'tokenizer.ggml.tokens': texts(pieces),
  'tokenizer.ggml.token_type': integers(pieceTypes),
  'tokenizer.ggml.scores': floats(pieces.map((_, id) => -id)),
};
const plainBytes: Readonly<Record<string, GgufValue | undefined>> = {
  'tokenizer.ggml.model': text('gpt2'),
  'tokenizer.ggml.pre': text('gpt-2'),
  'tokenizer.ggml.tokens': texts(['a', 'b', 'ab', '<|im_end|>', '<|other|>', '</s>']),
  'tokenizer.ggml.token_type': integers([1, 1, 1, 3, 3, 1]),
  'tokenizer.ggml.merges': texts(['a b']),
};

type Changes = Readonly<Record<string, GgufValue | undefined>>;

function changed(base: Changes, changes: Changes): Entries {
  const entries = Object.entries({ ...base, ...changes });
  return entries.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as const]));
}

describe('a vocabulary with scores', () => {
  it('merges by score, and puts a space and the first token in front', async () => {
    const tokenizer = await tokenizerOf(changed(plainPieces, {}), pieces.length);
    expect(tokenizer.encode('ab')).toEqual([1, pieces.indexOf('▁'), pieces.indexOf('ab')]);
    const better = floats(pieces.map((piece, id) => (piece === '▁a' ? 1 : -id)));
    const other = await tokenizerOf(changed(plainPieces, { 'tokenizer.ggml.scores': better }), pieces.length);
    expect(other.encode('ab')).toEqual([1, pieces.indexOf('▁a'), pieces.indexOf('b')]);
    expect(other.decode(other.encode('ab é'))).toBe('ab é');
  });

  it('puts neither in front when the file says so', async () => {
    const none = { 'tokenizer.ggml.add_space_prefix': flag(false), 'tokenizer.ggml.add_bos_token': flag(false) };
    const tokenizer = await tokenizerOf(changed(plainPieces, none), pieces.length);
    expect(tokenizer.encode('ab a')).toEqual(['ab', '▁a'].map((piece) => pieces.indexOf(piece)));
    expect(tokenizer.decode(tokenizer.encode(' a'))).toBe(' a');
  });

  it('ends text when the file says so', async () => {
    const tokenizer = await tokenizerOf(
      changed(plainPieces, { 'tokenizer.ggml.add_eos_token': flag(true) }),
      pieces.length,
    );
    expect(tokenizer.encode('a').at(-1)).toBe(2);
  });
});

describe('what a GGUF file says beside its tokens', () => {
  const filesOf = async (changes: Changes) => tokenizerFilesOf(await metadataOf(changed(plainBytes, changes)), 6);

  it('becomes end tokens: those that are named, and control tokens that end turns everywhere', async () => {
    const ends = async (changes: Changes) => (await filesOf(changes))['generation_config.json'].eos_token_id;
    expect(await ends({})).toEqual([3]);
    expect(await ends({ 'tokenizer.ggml.eos_token_id': u32(4) })).toEqual([4, 3]);
    const named = { 'tokenizer.ggml.eot_token_id': u32(1), 'tokenizer.ggml.eom_token_id': u32(2) };
    expect(await ends({ 'tokenizer.ggml.eos_token_id': u32(3), ...named })).toEqual([3, 1, 2]);
  });

  it('becomes defaults for sampling', async () => {
    const sampling = { 'general.sampling.temp': f32(0.6), 'general.sampling.top_k': i32(20) };
    expect((await filesOf(sampling))['generation_config.json']).toMatchObject({ temperature: 0.6, top_k: 20 });
  });

  it('becomes a chat template, or several by name', async () => {
    const usual = { 'tokenizer.chat_template': text('{{ messages }}') };
    expect((await filesOf(usual))['tokenizer_config.json'].chat_template).toBe('{{ messages }}');
    const several = {
      ...usual,
      'tokenizer.chat_templates': texts(['tool_use']),
      'tokenizer.chat_template.tool_use': text('{{ tools }}'),
    };
    expect((await filesOf(several))['tokenizer_config.json'].chat_template).toEqual([
      { name: 'default', template: '{{ messages }}' },
      { name: 'tool_use', template: '{{ tools }}' },
    ]);
  });

  it('leaves out ids that mean none', async () => {
    const none = { 'tokenizer.ggml.padding_token_id': u32(0xffff_ffff), 'tokenizer.ggml.unknown_token_id': i32(-1) };
    const config = (await filesOf(none))['tokenizer_config.json'];
    expect(config).not.toHaveProperty('pad_token');
    expect(config).not.toHaveProperty('unk_token');
  });
});

describe('a GGUF vocabulary is refused', () => {
  const key = (name: string): string => `tokenizer.ggml.${name}`;
  const wrong: readonly (readonly [string, Changes, Changes, string, RegExp])[] = [
    ['without any', plainBytes, { [key('model')]: undefined }, 'MISSING_TOKENIZER', /model.gguf has no vocabulary/],
    ['of kind none', plainBytes, { [key('model')]: text('none') }, 'MISSING_TOKENIZER', /no vocabulary/],
    [
      'of another kind',
      plainBytes,
      { [key('model')]: text('t5') },
      'INVALID_CHECKPOINT',
      /"t5".*supported: gpt2, llama/,
    ],
    ['without tokens', plainBytes, { [key('tokens')]: undefined }, 'MISSING_TOKENIZER', /no tokenizer.ggml.tokens/],
    ['with no tokens', plainBytes, { [key('tokens')]: texts([]) }, 'INVALID_CHECKPOINT', /expected 1 to 6 tokens/],
    [
      'with tokens of another kind',
      plainBytes,
      { [key('tokens')]: integers([1]) },
      'INVALID_CHECKPOINT',
      /a list of texts/,
    ],
    [
      'with more tokens than rows',
      plainBytes,
      { [key('tokens')]: texts(['1', '2', '3', '4', '5', '6', '7']) },
      'INVALID_CHECKPOINT',
      /expected 1 to 6 tokens/,
    ],
    [
      'with a token twice',
      plainBytes,
      { [key('tokens')]: texts(['a', 'b', 'ab', 'x', 'y', 'x']) },
      'INVALID_CHECKPOINT',
      /tokens 3 and 5 are both "x"/,
    ],
    [
      'with too few types',
      plainBytes,
      { [key('token_type')]: integers([1, 1]) },
      'INVALID_CHECKPOINT',
      /one for each of 6 tokens/,
    ],
    [
      'with types that are none',
      plainBytes,
      { [key('token_type')]: integers([1, 1, 1, 1, 1, 9]) },
      'INVALID_CHECKPOINT',
      /supported: types 1 to 6/,
    ],
    [
      'that does not say how text is cut',
      plainBytes,
      { [key('pre')]: undefined },
      'INVALID_CHECKPOINT',
      /no tokenizer.ggml.pre/,
    ],
    [
      'cut in an unknown way',
      plainBytes,
      { [key('pre')]: text('viking') },
      'INVALID_CHECKPOINT',
      /"viking".*supported: default, llama-bpe/,
    ],
    ['without merges', plainBytes, { [key('merges')]: undefined }, 'INVALID_CHECKPOINT', /no tokenizer.ggml.merges/],
    [
      'with half a merge',
      plainBytes,
      { [key('merges')]: texts(['ab']) },
      'INVALID_CHECKPOINT',
      /"ab", which does not make a token/,
    ],
    [
      'with a merge to no token',
      plainBytes,
      { [key('merges')]: texts(['b a']) },
      'INVALID_CHECKPOINT',
      /"b a", which does not/,
    ],
    [
      'with an end beyond the tokens',
      plainBytes,
      { [key('eos_token_id')]: u32(6) },
      'INVALID_CHECKPOINT',
      /eos_token_id is 6, expected a token below 6/,
    ],
    [
      'with an end that is a text',
      plainBytes,
      { [key('eos_token_id')]: text('</s>') },
      'INVALID_CHECKPOINT',
      /eos_token_id is "<\/s>"/,
    ],
    [
      'with a template that is a number',
      plainBytes,
      { 'tokenizer.chat_template': u32(1) },
      'INVALID_CHECKPOINT',
      /chat_template is 1, expected a text/,
    ],
    [
      'with a template that is not there',
      plainBytes,
      { 'tokenizer.chat_templates': texts(['rag']) },
      'INVALID_CHECKPOINT',
      /no tokenizer.chat_template.rag/,
    ],
    [
      'of scores without scores',
      plainPieces,
      { [key('scores')]: undefined },
      'INVALID_CHECKPOINT',
      /no tokenizer.ggml.scores/,
    ],
    [
      'of too few scores',
      plainPieces,
      { [key('scores')]: floats([1, 2]) },
      'INVALID_CHECKPOINT',
      /one for each of 264 tokens/,
    ],
    [
      'of scores that are no numbers',
      plainPieces,
      { [key('scores')]: floats(pieces.map(() => Number.NaN)) },
      'INVALID_CHECKPOINT',
      /a list of numbers/,
    ],
  ];

  it.each(wrong)('%s', async (_, base, changes, code, message) => {
    const metadata = await metadataOf(changed(base, changes));
    const size = base === plainBytes ? 6 : pieces.length;
    expect(() => tokenizerFilesOf(metadata, size)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
