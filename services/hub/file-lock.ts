/** The lock that tools around the Hub take before they load a blob: flock(2) on a file. */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { tryLock } from '#platform/file-lock.ts';
import { asIoError } from '#platform/io-error.ts';

const pollMs = 100;
/** Long enough for somebody else to load a large blob over a slow line. */
const maxWaitMs = 6 * 3_600_000;
const otherDisk = 'Put the cache on a file system with locks, by HF_HUB_CACHE';
/** Several users of one group may share a cache. */
const lockFileMode = 0o664;

export interface LockWait {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called once when somebody else holds the lock. */
  readonly onWait?: () => void;
}

export class FileLock implements AsyncDisposable {
  readonly #handle: FileHandle;

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Errors: CACHE_BUSY, IO_ERROR, the signal's reason. The file stays: to remove it would be a race with those who wait. */
  static async acquire(file: string, { clock, signal, onWait }: LockWait): Promise<FileLock> {
    const handle = await openLockFile(file);
    try {
      const endMs = clock.now() + maxWaitMs;
      for (let isFirst = true; !tryLock(handle, file, otherDisk); isFirst = false) {
        if (isFirst) onWait?.();
        if (clock.now() >= endMs) throw stillBusy(file);
        await clock.sleep(pollMs, signal);
      }
      return new FileLock(handle);
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

async function openLockFile(file: string): Promise<FileHandle> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    return await open(file, 'a', lockFileMode);
  } catch (cause) {
    throw asIoError(cause, `open the lock ${file}`);
  }
}

function stillBusy(file: string): TriremeError {
  return new TriremeError('CACHE_BUSY', `another process has held ${file} for ${maxWaitMs / 3_600_000} hours`, {
    remedy: 'Find and end it, then run the same command again',
  });
}
