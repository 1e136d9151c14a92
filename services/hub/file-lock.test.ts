import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#platform/clock.ts';
import { HurriedClock } from '../../test/fakes/hurried-clock.ts';
import { temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { startProcess } from '../../test/harness/process.ts';
import { FileLock } from './file-lock.ts';

const root = path.join(import.meta.dirname, '..', '..');
const node = path.join(root, 'node_modules', '.bin', 'node');
const { signal } = new AbortController();

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let file: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  file = path.join(folder.path, 'locks', 'x.lock');
});

afterEach(() => folder[Symbol.asyncDispose]());

test('a lock is held by one process at a time, and ends with it however that ends', async () => {
  const holder = startProcess(node, [path.join(root, 'test', 'fixtures', 'hold-lock.ts'), file]);
  await holder.waitForLine(/held/, 10_000);
  const waiting = Promise.withResolvers<void>();
  const acquired = FileLock.acquire(file, { clock: systemClock, signal, onWait: waiting.resolve });
  await waiting.promise;
  holder.kill('SIGKILL');
  await holder.exited;
  await using lock = await acquired;
  expect(lock).toBeDefined();
});

test('it is the lock that flock(1) and other tools take', async () => {
  await using _lock = await FileLock.acquire(file, { clock: systemClock, signal });
  const other = startProcess('flock', ['--nonblock', file, 'true']);
  expect(await other.exited).toMatchObject({ status: 1 });
});

test('a lock that was given back can be taken again', async () => {
  for (let i = 0; i < 3; i++) {
    await using lock = await FileLock.acquire(file, { clock: systemClock, signal });
    expect(lock).toBeDefined();
  }
});

test('waiting ends when the caller gives up, and after a limit', async () => {
  await using _lock = await FileLock.acquire(file, { clock: systemClock, signal });
  const abort = new AbortController();
  const given = FileLock.acquire(file, {
    clock: systemClock,
    signal: abort.signal,
    onWait: () => abort.abort(new Error('enough')),
  });
  await expect(given).rejects.toThrow('enough');
  await expect(FileLock.acquire(file, { clock: new HurriedClock(), signal })).rejects.toMatchObject({
    code: 'CACHE_BUSY',
  });
});

test('a place that cannot hold a lock is an error', async () => {
  await mkdir(file, { recursive: true });
  await expect(FileLock.acquire(file, { clock: systemClock, signal })).rejects.toMatchObject({ code: 'IO_ERROR' });
});
