import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Tokenizer as Reference } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readPackageJson } from './package-files.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

const demoFolder = path.join(import.meta.dirname, '../../models/demo');
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
const special = { special: true, normalized: false, single_word: false, lstrip: false, rstrip: false };

let scratch: string;
let demo: Tokenizer;
beforeAll(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'trireme-tokenizer-'));
  demo = await loadTokenizer(demoFolder);
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

let folders = 0;
async function folderWith(files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = path.join(scratch, String(folders++));
  await mkdir(folder);
  for (const [name, content] of Object.entries(files)) {
    const raw = typeof content === 'string' || content instanceof Uint8Array;
    await writeFile(path.join(folder, name), raw ? content : JSON.stringify(content));
  }
  return folder;
}

/** As SentencePiece models are converted: bytes for what the vocabulary lacks, a mark for spaces. */
function definition(decoder: unknown, prependScheme = 'first') {
  const words = ['<unk>', '<s>', '</s>', ...byteTokens, '▁', 'a', 'b', '▁a', '▁b', 'ab', '▁ab', '▁▁', 'é', '你'];
  return {
    added_tokens: ['<unk>', '<s>', '</s>'].map((content, id) => ({ id, content, ...special })),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: prependScheme, split: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: {},
    },
    decoder,
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges: ['a b', '▁ ab', '▁ a', '▁ b', '▁ ▁'],
      byte_fallback: true,
      unk_token: '<unk>',
      fuse_unk: true,
    },
  };
}

const decoders = {
  sentencepiece: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  'stripped on both sides': {
    type: 'Sequence',
    decoders: [
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'Strip', content: ' ', start: 2, stop: 2 },
    ],
  },
  'stripped token by token': {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { Regex: '▁+' }, content: '  ' },
      { type: 'Strip', content: ' ', start: 1, stop: 1 },
    ],
  },
  metaspace: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first' },
};

/** One id after the other, as a stream brings them. */
function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const stream = tokenizer.createDetokenizer({ showsSpecial: true });
  return ids.map((id) => stream.push(id)).join('') + stream.end();
}

function whole(reference: Reference, ids: number[]): string {
  return ids.length === 0 ? '' : reference.decode(ids, { clean_up_tokenization_spaces: false });
}

test('a stream of random ids of a byte-level vocabulary gives the text of all ids at once', async () => {
  const reference = new Reference((await readPackageJson(demoFolder, 'tokenizer.json'))!, {});
  // Above 2,047 there is no token: padded vocabularies have such ids.
  const id = fc.oneof({ weight: 3, arbitrary: fc.nat(2060) }, fc.nat(263));
  fc.assert(
    fc.property(fc.array(id, { maxLength: 60 }), (ids) => {
      expect(streamed(demo, ids)).toBe(whole(reference, ids));
    }),
    { numRuns: 2000 },
  );
});

test.for(Object.entries(decoders))('so does one through the decoder %s', async ([, decoder]) => {
  const made = definition(decoder);
  const tokenizer = await loadTokenizer(await folderWith({ 'tokenizer.json': made }));
  const reference = new Reference(made, {});
  const bytes = [...new TextEncoder().encode('é你😀')].map((byte) => 3 + byte);
  const id = fc.oneof(fc.nat(268), fc.integer({ min: 259, max: 268 }), fc.constantFrom(...bytes));
  fc.assert(
    fc.property(fc.array(id, { maxLength: 40 }), (ids) => {
      expect(streamed(tokenizer, ids)).toBe(whole(reference, ids));
    }),
    { numRuns: 2000 },
  );
});

test('random text comes back as it was', async () => {
  const text = fc.string({
    unit: fc.oneof(fc.constantFrom(' ', '\n', 'a', '<think>', '.'), fc.string({ unit: 'binary' })),
  });
  fc.assert(
    fc.property(text, (original) => {
      const ids = demo.encode(original);
      expect(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 2048)).toBe(true);
      expect(streamed(demo, ids)).toBe(original.normalize('NFC'));
    }),
    { numRuns: 1000 },
  );
});

test('half a character is held back until its other half comes', () => {
  const ids = demo.encode('😀');
  const stream = demo.createDetokenizer();
  const pieces = ids.map((id) => stream.push(id));
  expect(ids.length).toBeGreaterThan(1);
  expect(pieces).toEqual([...ids.slice(1).map(() => ''), '😀']);
  const cut = demo.createDetokenizer();
  expect(
    ids
      .slice(0, -1)
      .map((id) => cut.push(id))
      .join(''),
  ).toBe('');
  expect(cut.end()).toBe('\ufffd');
});

test('a stream that goes on a prompt keeps its leading space, one that stands alone does not', async () => {
  const folder = await folderWith({ 'tokenizer.json': definition(decoders.sentencepiece) });
  const tokenizer = await loadTokenizer(folder);
  const [bos, ...ids] = tokenizer.encode('ab ab');
  expect([bos, tokenizer.decode(ids), tokenizer.decode(ids.slice(1), { continues: true })]).toEqual([
    1,
    'ab ab',
    ' ab',
  ]);
});

test('special tokens stay out of the text unless asked for', () => {
  const { text, ids } = demo.chat({ messages: [{ role: 'user', content: 'hi there' }] });
  expect(text).toBe('<|im_start|>user\nhi there<|im_end|>\n<|im_start|>assistant\n');
  expect(demo.decode(ids, { showsSpecial: true })).toBe(text);
  expect(demo.decode(ids)).toBe('user\nhi there\nassistant\n');
});

test('a beginning-of-sequence token comes once, whoever is to add it', async () => {
  const tokenizer = definition(decoders.sentencepiece);
  const config = { bos_token: { content: '<s>' } };
  const load = async (files: Record<string, unknown>) => (await loadTokenizer(await folderWith(files))).encode('ab');
  const plain = { ...tokenizer, post_processor: null };
  expect(
    await load({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': { ...config, add_bos_token: true } }),
  ).toEqual([1, 265]);
  expect(await load({ 'tokenizer.json': plain, 'tokenizer_config.json': { ...config, add_bos_token: true } })).toEqual([
    1, 265,
  ]);
  expect(await load({ 'tokenizer.json': plain, 'tokenizer_config.json': config })).toEqual([265]);
  expect(
    await load({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': { ...config, add_bos_token: false } }),
  ).toEqual([265]);
});

test('a template file wins over the configuration, whose list of templates has a default', async () => {
  const base = { 'tokenizer.json': definition(decoders.metaspace) };
  const chat_template = [
    { name: 'tool', template: 'no' },
    { name: 'default', template: '{{ bos_token }}{{ messages[0].content }}' },
  ];
  const config = { bos_token: '<s>', chat_template };
  const hello = { messages: [{ role: 'user', content: 'ab' }] };
  const listed = await loadTokenizer(await folderWith({ ...base, 'tokenizer_config.json': config }));
  expect(listed.chat(hello)).toEqual({ text: '<s>ab', ids: [1, 264] });
  const filed = await loadTokenizer(
    await folderWith({ ...base, 'tokenizer_config.json': config, 'chat_template.jinja': '{{ messages[0].role }}' }),
  );
  expect(filed.chat(hello).text).toBe('user');
});

test('a conversation that the template refuses, and one without a template, are the fault of the request', async () => {
  const strict = await loadTokenizer(
    await folderWith({
      'tokenizer.json': definition(decoders.metaspace),
      'chat_template.jinja': "{{ raise_exception('roles must alternate') }}",
    }),
  );
  expect(() => strict.chat({ messages: [] })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('roles must alternate') }),
  );
  const none = await loadTokenizer(await folderWith({ 'tokenizer.json': definition(decoders.metaspace) }));
  expect(() => none.chat({ messages: [] })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', remedy: expect.stringContaining('as text') }),
  );
});

test('a package without a tokenizer says so', async () => {
  await expect(loadTokenizer(await folderWith({}))).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
  await expect(loadTokenizer(path.join(scratch, 'nowhere'))).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
});

test.for<[string, string, Record<string, unknown>]>([
  ['no JSON', 'tokenizer.json', { 'tokenizer.json': '{"model": ' }],
  ['no object', 'tokenizer.json', { 'tokenizer.json': [] }],
  ['no UTF-8', 'tokenizer.json', { 'tokenizer.json': Uint8Array.of(0x22, 0xff, 0x22) }],
  ['no model', 'tokenizer.json', { 'tokenizer.json': { ...definition(decoders.metaspace), model: { type: 'Magic' } } }],
  [
    'a broken vocabulary',
    'tokenizer.json',
    { 'tokenizer.json': { ...definition(decoders.metaspace), model: { type: 'BPE' } } },
  ],
  ['no decoder', 'tokenizer.json', { 'tokenizer.json': definition(null) }],
  ['an unknown decoder', 'tokenizer.json', { 'tokenizer.json': definition({ type: 'CTC' }) }],
  ['a broken decoder', 'tokenizer.json', { 'tokenizer.json': definition({ type: 'Strip', start: -1 }) }],
  ['a truncated configuration', 'tokenizer_config.json', { 'tokenizer_config.json': '{' }],
  ['a template that is a number', 'tokenizer_config.json', { 'tokenizer_config.json': { chat_template: 5 } }],
  ['a template that does not parse', 'chat_template.jinja', { 'chat_template.jinja': '{% for %}' }],
])('a package with %s is refused, the file named', async ([, file, files]) => {
  const folder = await folderWith({ 'tokenizer.json': definition(decoders.metaspace), ...files });
  await expect(loadTokenizer(folder)).rejects.toMatchObject({
    code: 'INVALID_CHECKPOINT',
    message: expect.stringContaining(path.join(folder, file)),
  });
});

test('a copy of the demo model elsewhere works alike: nothing but the folder is read', async () => {
  const folder = path.join(scratch, 'demo');
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    await cp(path.join(demoFolder, name), path.join(folder, name));
  }
  const copy = await loadTokenizer(folder);
  expect(copy.encode('What is 17 + 25?')).toEqual(demo.encode('What is 17 + 25?'));
  expect(copy.longestToken).toBeGreaterThan(4);
});
