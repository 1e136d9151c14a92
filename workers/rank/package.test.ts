import { cpSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { demoPackage, scratchFolder } from '../../test/numerics/demo-package.ts';
import { readManifest, shardFor, verifyRankFiles } from './package.ts';

let original: string;
beforeAll(async () => {
  original = await demoPackage(2, 'int4');
});

/** A copy of the package to spoil. */
function copyOf(name: string): string {
  const folder = path.join(scratchFolder(), name);
  cpSync(original, folder, { recursive: true });
  return folder;
}

function verify(folder: string, ranks: readonly number[] = [0, 1]): Promise<void> {
  return verifyRankFiles({ folder, manifest: readManifest(folder), ranks });
}

const codeOf = (code: string, message: RegExp) =>
  expect.objectContaining({ code, message: expect.stringMatching(message) });

test('a whole package is accepted, and progress ends at all bytes but those of other ranks', async () => {
  const manifest = readManifest(original);
  const seen: number[] = [];
  let last = 0;
  await verifyRankFiles({
    folder: original,
    manifest,
    ranks: [1],
    onProgress: (done, total) => {
      seen.push(done);
      last = total;
    },
  });
  const bytes = manifest.files
    .filter((file) => !file.path.startsWith('rank-0/'))
    .reduce((sum, file) => sum + file.bytes, 0);
  expect([seen.at(-1), last]).toEqual([bytes, bytes]);
});

test('one flipped bit is a digest mismatch that names the file', async () => {
  const folder = copyOf('flipped');
  const file = path.join(folder, 'rank-1', 'weights.bin');
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(file, bytes);
  await expect(verify(folder)).rejects.toEqual(codeOf('DIGEST_MISMATCH', /rank-1\/weights\.bin has SHA-256/));
  await verify(folder, [0]);
});

test('a file that lost its end is truncated, one that grew does not match, one that is gone makes no package', async () => {
  const short = copyOf('short');
  truncateSync(path.join(short, 'rank-0', 'graphs.bin'), 1000);
  await expect(verify(short)).rejects.toEqual(codeOf('TRUNCATED_FILE', /graphs\.bin has 1000 bytes/));
  const long = copyOf('long');
  writeFileSync(path.join(long, 'rank-0', 'weights.bin'), 'x', { flag: 'a' });
  await expect(verify(long)).rejects.toEqual(codeOf('DIGEST_MISMATCH', /weights\.bin has \d+ bytes/));
  const gone = copyOf('gone');
  rmSync(path.join(gone, 'rank-1', 'graphs.bin'));
  await expect(verify(gone)).rejects.toEqual(codeOf('NOT_A_PACKAGE', /graphs\.bin is missing/));
});

test('a changed tokenizer is a digest mismatch too', async () => {
  const folder = copyOf('tokenizer');
  const file = path.join(folder, 'tokenizer.json');
  writeFileSync(file, readFileSync(file, 'utf8').replace('a', 'b'));
  await expect(verify(folder, [1])).rejects.toEqual(codeOf('DIGEST_MISMATCH', /tokenizer\.json has SHA-256/));
});

test('a rank that the manifest does not know is named', async () => {
  const folder = copyOf('foreign');
  mkdirSync(path.join(folder, 'rank-2'));
  await expect(verify(folder)).rejects.toEqual(codeOf('NOT_A_PACKAGE', /holds rank-2, its manifest knows 2 ranks/));
});

test('a folder without a manifest, or with half of one, is no package', () => {
  expect(() => readManifest(scratchFolder())).toThrow(codeOf('NOT_A_PACKAGE', /manifest\.json/));
  const half = copyOf('half');
  const file = path.join(half, 'manifest.json');
  writeFileSync(file, readFileSync(file, 'utf8').slice(0, 100));
  expect(() => readManifest(half)).toThrow(codeOf('NOT_A_PACKAGE', /manifest\.json/));
});

test('a package for another number of ranks is refused with both numbers', () => {
  const manifest = readManifest(original);
  expect(() => shardFor(manifest, 0, 1)).toThrow(codeOf('NOT_A_PACKAGE', /sliced for 2 ranks, not for 1/));
  expect(() => shardFor(manifest, 2, 3)).toThrow(codeOf('NOT_A_PACKAGE', /sliced for 2 ranks, not for 3/));
});
