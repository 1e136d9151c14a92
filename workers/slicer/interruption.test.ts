/** Whatever ends a slicing early: a folder under the package's name is whole or not there. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { digestsOf, goldenCheckpoint } from '../../test/fixtures/tiny-checkpoint.ts';
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

describe('a cancelled slicing', () => {
  it('ends with CANCELLED at any point and leaves nothing', async () => {
    for (const point of [0, 0.3, 0.6, 0.9]) {
      const abort = new AbortController();
      const promise = run({
        signal: abort.signal,
        onProgress: ({ doneBytes, totalBytes }) => {
          if (doneBytes >= point * totalBytes) abort.abort();
        },
      });
      await expect(promise).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await readdir(folder.path)).toEqual(['checkpoint']);
    }
    expect((await run()).shards).toHaveLength(2);
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
  it('leaves no package, and the next run removes what it left', async () => {
    const killed = spawnSync(node, [sliceProcess, model, out, 'kill'], { encoding: 'utf8' });
    expect(killed.signal).toBe('SIGKILL');
    const left = (await readdir(folder.path)).filter((name) => name !== 'checkpoint');
    expect(left).toEqual([expect.stringMatching(/^[.]package[.]slicing-\d+-\d+-\w+$/)]);
    await run();
    expect((await readdir(folder.path)).sort()).toEqual(['checkpoint', 'package']);
  });

  it('is not mistaken for one that is still at work', async () => {
    // The parent of this process runs, and started when it started.
    const stat = await readFile(`/proc/${process.ppid}/stat`, 'utf8');
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const atWork = `.package.slicing-${process.ppid}-${start}-abc`;
    const reusedNumber = `.package.slicing-${process.ppid}-1-abc`;
    await mkdir(path.join(folder.path, atWork));
    await mkdir(path.join(folder.path, reusedNumber));
    await run();
    expect((await readdir(folder.path)).sort()).toEqual([atWork, 'checkpoint', 'package']);
  });
});

describe('two slicings for one place at a time', () => {
  it('do not disturb each other, and one of the two packages remains', async () => {
    const manifests = await Promise.all([run({ ranks: 1 }), run({ ranks: 2 })]);
    const { files } = manifests[existsSync(path.join(out, 'rank-1')) ? 1 : 0]!;
    const { 'manifest.json': _, ...digests } = await digestsOf(out);
    expect(digests).toEqual(Object.fromEntries(files.map(({ path: file, sha256 }) => [file, sha256])));
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
