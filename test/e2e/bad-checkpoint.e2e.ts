/** What a folder may be instead of a checkpoint, and what `trireme slice` and `inspect` say to whoever names it. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  changeConfig,
  changeTensors,
  goldenCheckpoint,
  splitInTwo,
  type TemporaryFolder,
} from '../fixtures/tiny-checkpoint.ts';
import { refusal, run, withoutPrivileges } from './refusal.ts';

let folder: TemporaryFolder & { readonly checkpoint: string };
beforeEach(async () => {
  folder = await goldenCheckpoint('qwen3_moe');
});
afterEach(() => folder[Symbol.asyncDispose]());

const at = (name: string): string => path.join(folder.checkpoint, name);
const weights = 'model.safetensors';
const index = 'model.safetensors.index.json';
const invalidUtf8 = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);

/** Changes the JSON of the safetensors header; the length before it follows. */
async function changeHeader(change: (json: string) => string): Promise<void> {
  const bytes = await readFile(at(weights));
  const end = 8 + Number(bytes.readBigUInt64LE());
  const header = Buffer.from(change(bytes.toString('utf8', 8, end)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(header.length));
  await writeFile(at(weights), Buffer.concat([prefix, header, bytes.subarray(end)]));
}

async function claimHeaderBytes(count: bigint): Promise<void> {
  const bytes = await readFile(at(weights));
  bytes.writeBigUInt64LE(count);
  await writeFile(at(weights), bytes);
}

/** Bits of one bfloat16 weight. */
const plant = (tensor: string, bits: number) =>
  changeTensors(folder.checkpoint, (tensors) =>
    tensors.map((each) => {
      if (each.name !== tensor) return each;
      const bytes = Buffer.from(each.bytes);
      bytes.writeUInt16LE(bits, bytes.length - 2);
      return { ...each, bytes };
    }),
  );

async function replaceBy(name: string, make: (file: string) => unknown): Promise<void> {
  await rm(at(name), { force: true });
  await make(at(name));
}

const pointIndexTo = async (file: string): Promise<void> => {
  await splitInTwo(folder.checkpoint);
  const text = await readFile(at(index), 'utf8');
  await writeFile(at(index), text.replace('part-1.safetensors', file));
};

type Spoil = () => unknown;
type Case = readonly [what: string, spoil: Spoil, code: string, status: number, line: RegExp];

const cases: readonly Case[] = [
  [
    'truncated weights',
    () => truncate(at(weights), 300_000),
    'TRUNCATED_FILE',
    65,
    /ends early.*Fetch the file again$/,
  ],
  ['weights of no byte', () => truncate(at(weights), 0), 'TRUNCATED_FILE', 65, /0 bytes hold no header/],
  ['an enormous header', () => claimHeaderBytes(2n ** 63n), 'INVALID_CHECKPOINT', 65, /a header of \d+ bytes/],
  ['a header beyond the file', () => claimHeaderBytes(99_000_000n), 'TRUNCATED_FILE', 65, /the header takes 99000000/],
  [
    'tensors that overlap',
    () =>
      changeHeader((json) => json.replace(/"data_offsets":\[0,(\d+)\]/, '"data_offsets":[2,$1]').padEnd(json.length)),
    'INVALID_CHECKPOINT',
    65,
    /takes|overlaps|gap/,
  ],
  [
    'a tensor that is named twice',
    () => changeHeader((json) => json.replace('{', '{"lm_head.weight":{},')),
    'INVALID_CHECKPOINT',
    65,
    /"lm_head.weight" comes twice/,
  ],
  [
    'a missing tensor',
    () => changeTensors(folder.checkpoint, (tensors) => tensors.filter(({ name }) => name !== 'model.norm.weight')),
    'MISSING_TENSOR',
    65,
    /no tensor model.norm.weight. Fetch all files/,
  ],
  [
    'a tensor of another shape',
    () => changeConfig(folder.checkpoint, { moe_intermediate_size: 32 }),
    'TENSOR_SHAPE',
    65,
    /has shape \[24, 64\], config.json asks for \[32, 64\]. config.json and weights must be of one model/,
  ],
  ['a weight that is NaN', () => plant('lm_head.weight', 0x7fc0), 'INVALID_CHECKPOINT', 65, /lm_head.weight holds NaN/],
  [
    'an infinite weight',
    () => plant('model.layers.2.mlp.experts.7.down_proj.weight', 0xff80),
    'INVALID_CHECKPOINT',
    65,
    /experts.7.down_proj.weight holds -Infinity/,
  ],
  [
    'an unknown family',
    () => changeConfig(folder.checkpoint, { model_type: 'rwkv' }),
    'UNKNOWN_FAMILY',
    65,
    /"rwkv" is not known; known: llama, .*qwen3_moe/,
  ],
  [
    'more layers than there can be',
    () => changeConfig(folder.checkpoint, { num_hidden_layers: 2 ** 31 - 1 }),
    'INVALID_CHECKPOINT',
    65,
    /2147483647 layers of 8 experts.*Fetch config.json again$/,
  ],
  [
    'more experts than there can be',
    () => changeConfig(folder.checkpoint, { num_experts: 2 ** 31 - 1 }),
    'INVALID_CHECKPOINT',
    65,
    /3 layers of 2147483647 experts/,
  ],
  ['no config', () => rm(at('config.json')), 'NOT_A_CHECKPOINT', 66, /no config.json. Name a folder/],
  ['half a config', () => truncate(at('config.json'), 40), 'INVALID_CHECKPOINT', 65, /config.json is malformed/],
  [
    'a config that is no UTF-8',
    () => writeFile(at('config.json'), invalidUtf8),
    'INVALID_CHECKPOINT',
    65,
    /config.json is malformed: it is not UTF-8. Fetch the file again$/,
  ],
  [
    'a config that says something twice',
    async () =>
      writeFile(at('config.json'), (await readFile(at('config.json'), 'utf8')).replace('{', '{"vocab_size":7,')),
    'INVALID_CHECKPOINT',
    65,
    /"vocab_size" comes twice/,
  ],
  ['a config that is a folder', () => replaceBy('config.json', mkdir), 'IO_ERROR', 74, /config.json is a folder/],
  [
    'a config that is a pipe',
    () => replaceBy('config.json', (file) => execFileSync('mkfifo', [file])),
    'IO_ERROR',
    74,
    /no regular file/,
  ],
  [
    'a config that never ends',
    () => replaceBy('config.json', (file) => symlink('/dev/zero', file)),
    'IO_ERROR',
    74,
    /no regular file/,
  ],
  [
    'a link in a circle',
    () => replaceBy('config.json', (file) => symlink('config.json', file)),
    'IO_ERROR',
    74,
    /ELOOP.*put the file there$/,
  ],
  [
    'weights behind a link to nowhere',
    () => replaceBy(weights, (file) => symlink('gone', file)),
    'NOT_A_CHECKPOINT',
    66,
    /no model.safetensors. Fetch all files/,
  ],
  ['weights that are a folder', () => replaceBy(weights, mkdir), 'IO_ERROR', 74, /model.safetensors is a folder/],
  ['an index that is no UTF-8', () => writeFile(at(index), invalidUtf8), 'INVALID_CHECKPOINT', 65, /index.*not UTF-8/],
  ['an index into another folder', () => pointIndexTo('../x.safetensors'), 'INVALID_CHECKPOINT', 65, /of this folder/],
  ['an index to the folder above', () => pointIndexTo('..'), 'INVALID_CHECKPOINT', 65, /of this folder/],
  ['an index to nothing', () => pointIndexTo('part-9.safetensors'), 'NOT_A_CHECKPOINT', 66, /no part-9.safetensors/],
  ['no tokenizer', () => rm(at('tokenizer.json')), 'MISSING_TOKENIZER', 66, /no tokenizer.json. Fetch it/],
  [
    'a tokenizer of no byte',
    () => truncate(at('tokenizer.json'), 0),
    'INVALID_CHECKPOINT',
    65,
    /tokenizer.json is malf/,
  ],
  ['a tokenizer that is none', () => writeFile(at('tokenizer.json'), '{}'), 'INVALID_CHECKPOINT', 65, /has no model/],
  [
    'a tokenizer that is no UTF-8',
    () => writeFile(at('tokenizer.json'), invalidUtf8),
    'INVALID_CHECKPOINT',
    65,
    /tokenizer.json is malformed: it is not UTF-8/,
  ],
  [
    'settings of the tokenizer that are no JSON',
    () => writeFile(at('tokenizer_config.json'), '['),
    'INVALID_CHECKPOINT',
    65,
    /tokenizer_config.json is malformed/,
  ],
  [
    'a chat template that is no UTF-8',
    () => writeFile(at('chat_template.jinja'), invalidUtf8),
    'INVALID_CHECKPOINT',
    65,
    /chat_template.jinja is malformed: it is not UTF-8/,
  ],
];

test.each(cases)('%s: slice says so and leaves nothing', async (_, spoil, code, status, line) => {
  await spoil();
  const out = path.join(folder.path, 'package');
  const refused = await refusal(['slice', '--model', folder.checkpoint, '--out', out, '--ranks', '2']);
  expect(refused).toEqual({ code, status, line: expect.stringMatching(line) });
  expect(await readdir(folder.path)).toEqual(['checkpoint']);
});

test.each([['config.json'], [weights], ['tokenizer.json']])('a %s that may not be read is named', async (file) => {
  await chmod(at(file), 0);
  const flags = ['slice', '--model', folder.checkpoint, '--out', path.join(folder.path, 'package'), '--ranks', '2'];
  const { code, status, line } = await refusal(flags, { prefix: withoutPrivileges });
  expect([code, status]).toEqual(['IO_ERROR', 74]);
  expect(line).toContain(`${file}: EACCES: permission denied`);
  expect(line).toMatch(/Give the user that runs this the right to it/);
});

test('a checkpoint whose files are links, as in the cache of the Hub, is sliced', async () => {
  const linked = path.join(folder.path, 'linked');
  await mkdir(linked);
  for (const name of await readdir(folder.checkpoint)) await symlink(at(name), path.join(linked, name));
  const out = path.join(folder.path, 'package');
  expect(await run(['slice', '--model', linked, '--out', out, '--ranks', '2', '--json'])).toMatchObject({ status: 0 });
});

test('inspect says the same of what it reads', async () => {
  await truncate(at(weights), 5000);
  expect(await refusal(['inspect', folder.checkpoint])).toMatchObject({ code: 'TRUNCATED_FILE', status: 65 });
  expect(await refusal(['inspect', folder.path])).toMatchObject({ code: 'NOT_A_CHECKPOINT', status: 66 });
  await writeFile(path.join(folder.path, 'manifest.json'), invalidUtf8);
  const { code, line } = await refusal(['inspect', folder.path]);
  expect([code, line]).toEqual(['NOT_A_PACKAGE', expect.stringMatching(/manifest.json is malformed: it is not UTF-8/)]);
});
