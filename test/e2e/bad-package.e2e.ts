/** What a folder may be instead of a package, and how `trireme up` ends when it is told to serve it. */
import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import type { Manifest } from '../../workers/models/manifest.ts';
import { demoPackage, scratchFolder } from '../numerics/demo-package.ts';
import { redigest } from '../numerics/redigest.ts';
import { lastLine, refusal, run } from './refusal.ts';

let original: string;
beforeAll(async () => {
  original = await demoPackage(2, 'int4');
});

/** A copy to spoil. */
let folder: string;
let copies = 0;
beforeEach(() => {
  folder = path.join(scratchFolder(), `copy-${copies++}`);
  cpSync(original, folder, { recursive: true });
});

const at = (name: string): string => path.join(folder, name);
const invalidUtf8 = Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]);

function flipBit(name: string): void {
  const bytes = readFileSync(at(name));
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(at(name), bytes);
}

function changeManifest(change: (manifest: Manifest) => unknown): void {
  writeFileSync(at('manifest.json'), JSON.stringify(change(JSON.parse(readFileSync(at('manifest.json'), 'utf8')))));
}

const up = () => ['up', '--package', folder, '--listen', '127.0.0.1:0'];

test.each([
  [
    'one bit of its weights flipped',
    () => flipBit('rank-1/weights.bin'),
    'DIGEST_MISMATCH',
    65,
    /weights.bin has SHA-256/,
  ],
  [
    'one bit of its graphs flipped',
    () => flipBit('rank-0/graphs.bin'),
    'DIGEST_MISMATCH',
    65,
    /graphs.bin has SHA-256/,
  ],
  [
    'another tokenizer',
    () => writeFileSync(at('tokenizer.json'), '{}'),
    'TRUNCATED_FILE',
    65,
    /tokenizer.json has 2 bytes/,
  ],
  [
    'a file cut short',
    () => truncateSync(at('rank-0/weights.bin'), 9),
    'TRUNCATED_FILE',
    65,
    /weights.bin has 9 bytes/,
  ],
  ['a rank missing', () => rmSync(at('rank-1'), { recursive: true }), 'NOT_A_PACKAGE', 66, /rank-1.*is missing/],
  [
    'a manifest for ranks that have no files',
    () =>
      changeManifest((manifest) => ({
        ...manifest,
        shards: [0, 1, 2, 3].map((rank) => ({ ...manifest.shards[rank % 2], rank })),
      })),
    'NOT_A_PACKAGE',
    66,
    /the manifest does not list rank-2/,
  ],
] as const)('up ends when the package has %s, instead of trying for ever', async (_, spoil, code, status, message) => {
  spoil();
  const refused = lastLine(await run(up()));
  expect(refused).toEqual({ code, status, line: expect.stringMatching(message) });
  expect(refused.line).toMatch(/Copy the package again, or slice the checkpoint again$/);
});

test('with --json the last line of a failed start is the error', async () => {
  flipBit('rank-1/weights.bin');
  const { status, stderr, stdout } = await run([...up(), '--json']);
  const { error } = JSON.parse(stderr.trimEnd().split('\n').at(-1)!);
  expect([status, stdout, error.code, error.exit]).toEqual([65, '', 'DIGEST_MISMATCH', 65]);
});

test.each([
  ['no manifest', () => rmSync(at('manifest.json')), 'NOT_A_PACKAGE', 66, /has no manifest.json. Name a folder/],
  ['half a manifest', () => truncateSync(at('manifest.json'), 100), 'NOT_A_PACKAGE', 66, /manifest.json is malformed/],
  [
    'a manifest that is no UTF-8',
    () => writeFileSync(at('manifest.json'), invalidUtf8),
    'NOT_A_PACKAGE',
    66,
    /manifest.json is malformed: it is not UTF-8. Copy the package again/,
  ],
  [
    'a manifest that says something twice',
    () => writeFileSync(at('manifest.json'), readFileSync(at('manifest.json'), 'utf8').replace('{', '{"format":1,')),
    'NOT_A_PACKAGE',
    66,
    /"format" comes twice/,
  ],
  [
    'a manifest that is a folder',
    () => {
      rmSync(at('manifest.json'));
      mkdirSync(at('manifest.json'));
    },
    'IO_ERROR',
    74,
    /manifest.json is a folder/,
  ],
  [
    'a manifest of a later format',
    () => changeManifest((manifest) => ({ ...manifest, format: 99 })),
    'NOT_A_PACKAGE',
    66,
    /format.*Slice the checkpoint again/,
  ],
  [
    'a manifest with a path that leaves the package',
    () => changeManifest((manifest) => ({ ...manifest, files: [{ ...manifest.files[0], path: '../x' }] })),
    'NOT_A_PACKAGE',
    66,
    /files.0.path: leaves the package/,
  ],
  [
    'a manifest for more ranks than the model allows',
    () =>
      changeManifest((manifest) => ({ ...manifest, shards: [...manifest.shards, { ...manifest.shards[1], rank: 2 }] })),
    'ILLEGAL_RANK_COUNT',
    64,
    /legal rank counts: 1, 2, 4$/,
  ],
  ['a rank too many', () => mkdirSync(at('rank-2')), 'NOT_A_PACKAGE', 66, /holds rank-2, its manifest knows 2 ranks/],
] as const)('a package with %s is refused before anything starts', async (_, spoil, code, status, message) => {
  spoil();
  expect(await refusal(up())).toEqual({ code, status, line: expect.stringMatching(message) });
});

test('a package whose tokenizer nobody can use starts, and says so to whoever asks', async () => {
  writeFileSync(at('tokenizer.json'), '{"model":{}}');
  await redigest(folder, ['tokenizer.json']);
  const { code, status, line } = lastLine(await run([...up(), '--prompt', 'x']));
  expect([code, status]).toEqual(['INVALID_CHECKPOINT', 65]);
  expect(line).toContain('tokenizer.json is malformed');
});
