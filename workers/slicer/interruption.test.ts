/** Whatever ends a slicing early: a folder under the package's name is whole or not there. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { digestsOf, goldenCheckpoint, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { type SliceOptions, slice } from './slice.ts';

let folder: Awaited<ReturnType<typeof goldenCheckpoint>>;
let model: string;
let out: string;

beforeEach(async () => {
  folder = await goldenCheckpoint('qwen3_moe');
  model = folder.checkpoint;
  out = path.join(folder.path, 'package');
});

afterEach(() => folder[Symbol.asyncDispose]());

function run(options: Partial<SliceOptions> = {}) {
  return slice({ model, out, ranks: 2, weights: 'int4', ...options });
}

const root = path.join(import.meta.dirname, '..', '..');
const node = path.join(root, 'node_modules', '.bin', 'node');
const sliceProcess = path.join(root, 'test', 'fixtures', 'slice-process.ts');

/** Slices to float32 in a process that kills itself; returns what is left beside the checkpoint. */
async function killAt(fraction: number): Promise<string[]> {
  const { signal } = spawnSync(node, [sliceProcess, model, out, '--die-at', String(fraction)], { encoding: 'utf8' });
  expect(signal).toBe('SIGKILL');
  return (await readdir(folder.path)).filter((name) => name !== 'checkpoint');
}

const resumed = (options: Partial<SliceOptions> = {}) => run({ weights: 'fp32', ...options });

const hidden = '.package.slicing';
/** Of the first rank, as long as it lies in the hidden folder. */
const firstRank = () => path.join(folder.path, hidden, 'package', 'rank-0', 'weights.bin');

/** Of the same checkpoint with the same options, elsewhere. */
async function undisturbed(options: Partial<SliceOptions> = {}): Promise<Record<string, string>> {
  await using elsewhere = await temporaryFolder();
  const place = path.join(elsewhere.path, 'package');
  await resumed({ ...options, out: place });
  return await digestsOf(place);
}

/** Cancels when so much is done. */
async function cancelAt(point: number): Promise<void> {
  const abort = new AbortController();
  const promise = run({
    signal: abort.signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      if (doneBytes >= point * totalBytes) abort.abort();
    },
  });
  await expect(promise).rejects.toMatchObject({ code: 'CANCELLED' });
}

describe('a cancelled slicing', () => {
  it('ends with CANCELLED at any point and leaves no package', async () => {
    for (const point of [0, 0.3, 0.6, 0.9]) {
      await cancelAt(point);
      expect(existsSync(out)).toBe(false);
    }
    expect((await run()).shards).toHaveLength(2);
    expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'package']);
  });

  it('leaves nothing when no rank was whole, and otherwise only those that were', async () => {
    await cancelAt(0);
    expect(await readdir(folder.path)).toEqual(['checkpoint']);
    await cancelAt(0.99);
    expect(await readdir(path.join(folder.path, hidden, 'package'))).toEqual(['rank-0']);
    const again = run({ signal: AbortSignal.abort() });
    await expect(again).rejects.toMatchObject({ remedy: 'The same command goes on from the ranks that are whole' });
  });

  it('leaves the package that was there as it was', async () => {
    await run({ ranks: 1 });
    const before = await digestsOf(out);
    await expect(run({ ranks: 2, signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await digestsOf(out)).toEqual(before);
    expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'package']);
  });
});

describe('a killed slicing', () => {
  it('leaves no package; the next run ends in the same bytes and removes what it left', async () => {
    for (const fraction of [0.1, 0.5, 0.95]) {
      expect(await killAt(fraction)).toEqual([hidden]);
      await resumed();
      expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'package']);
      expect(await digestsOf(out)).toEqual(await undisturbed());
      await rm(out, { recursive: true });
    }
  });

  it('is followed by one that does not write whole ranks again', async () => {
    await killAt(0.95);
    const { ino } = await stat(firstRank());
    await resumed();
    expect((await stat(path.join(out, 'rank-0', 'weights.bin'))).ino).toBe(ino);
    expect(await digestsOf(out)).toEqual(await undisturbed());
  });

  it('leaves its whole ranks also to one that is cancelled before it has looked at them', async () => {
    await killAt(0.95);
    const { ino } = await stat(firstRank());
    await expect(resumed({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect((await stat(firstRank())).ino).toBe(ino);
  });

  it.each<[string, Partial<SliceOptions>]>([
    ['other weights', { weights: 'int8' }],
    ['another number of ranks', { ranks: 4 }],
    ['other activations', { weights: 'int8', activations: 'fp32' }],
  ])('is of no use for %s', async (_, options) => {
    await killAt(0.95);
    await resumed(options);
    expect(await digestsOf(out)).toEqual(await undisturbed(options));
  });

  it('is of no use for a checkpoint that was changed, even if its size and time are the same', async () => {
    await killAt(0.95);
    const weights = path.join(model, 'model.safetensors');
    const bytes = await readFile(weights);
    const { atime, mtime } = await stat(weights);
    // Low bits of the last numbers.
    for (let i = 2; i < 20_000; i += 2) bytes[bytes.length - i]! ^= 1;
    await writeFile(weights, bytes);
    await utimes(weights, atime, mtime);
    await resumed();
    expect(await digestsOf(out)).toEqual(await undisturbed());
  });

  it.each([
    ['spoilt', (bytes: Buffer) => bytes.fill(1, 1000, 1001)],
    ['cut off', (bytes: Buffer) => bytes.subarray(0, 1000)],
  ])('is followed by one that writes a rank again that was %s since', async (_, spoil) => {
    await killAt(0.95);
    await writeFile(firstRank(), spoil(await readFile(firstRank())));
    await resumed();
    expect(await digestsOf(out)).toEqual(await undisturbed());
  });

  it.each(['half a record', 'no rank'])('may leave %s', async (what) => {
    await killAt(0.95);
    if (what === 'no rank') await rm(path.dirname(firstRank()), { recursive: true });
    else await writeFile(path.join(folder.path, hidden, 'rank-0.json'), '[{"path":');
    await resumed();
    expect(await digestsOf(out)).toEqual(await undisturbed());
  });

  it('gives back the package that it was about to replace', async () => {
    await run({ ranks: 1 });
    const before = await digestsOf(out);
    await mkdir(path.join(folder.path, hidden));
    await rename(out, path.join(folder.path, hidden, 'replaced'));
    await expect(run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(await digestsOf(out)).toEqual(before);
  });
});

describe('two slicings for one place at a time', () => {
  it('are one too many: the second is refused, and the first undisturbed', async () => {
    const second = Promise.withResolvers<unknown>();
    let isFirstReport = true;
    const first = run({
      onProgress: () => {
        if (isFirstReport) run({ ranks: 1 }).then(second.reject, second.resolve);
        isFirstReport = false;
      },
    });
    await expect(first).resolves.toMatchObject({ weights: 'int4' });
    expect(await second.promise).toMatchObject({
      code: 'OUTPUT_BUSY',
      message: expect.stringMatching(/another process is slicing into .*package/),
      remedy: expect.stringMatching(/Wait until it has ended/),
    });
    expect(await digestsOf(out)).toEqual(await undisturbed({ weights: 'int4' }));
    expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'package']);
  });
});

/** Runs a shell script with a private view of mounts, as root or as root of a user namespace. */
function withPrivateMounts(script: string): string {
  const asRoot = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  const result = spawnSync('unshare', [...asRoot, '--mount', 'sh', '-euc', script], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`this test mounts a tmpfs of its own, which failed: ${result.stderr}`);
  return result.stdout;
}

describe('a full disk', () => {
  it('ends slicing with DISK_FULL, leaves nothing, and a run with room enough works', async () => {
    const disk = path.join(folder.path, 'disk');
    await mkdir(disk);
    const output = withPrivateMounts(`
      mount -t tmpfs -o size=400k tmpfs '${disk}'
      '${node}' '${sliceProcess}' '${model}' '${disk}/package'
      ls -A '${disk}' | wc -l
      mount -o remount,size=8m '${disk}'
      '${node}' '${sliceProcess}' '${model}' '${disk}/package'
      ls -A '${disk}'
    `);
    expect(output.trim().split(/\s+/)).toEqual(['DISK_FULL', '0', 'OK', 'package']);
  });

  it('is told from other failures of the file system', async () => {
    const failure = (code: string): Error => Object.assign(new Error(`${code}: it failed`), { code });
    expect(asIoError(failure('ENOSPC'), 'write x')).toMatchObject({ code: 'DISK_FULL' });
    expect(asIoError(failure('EDQUOT'), 'write x')).toMatchObject({ code: 'DISK_FULL' });
    expect(asIoError(failure('EIO'), 'write x')).toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringContaining('cannot write x: EIO'),
    });
    const known = new TriremeError('CANCELLED', 'stop');
    expect(asIoError(known, 'write x')).toBe(known);
    const bug = new RangeError('index');
    expect(asIoError(bug, 'write x')).toBe(bug);
  });

  it('is not the reason when the place cannot be written', async () => {
    await writeFile(path.join(folder.path, 'file'), '');
    const below = run({ out: path.join(folder.path, 'file', 'package') });
    await expect(below).rejects.toMatchObject({ code: 'IO_ERROR' });
  });
});
