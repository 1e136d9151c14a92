/**
 * The lock that tools around the Hub take before they load a blob: flock(2) on a file. It ends with its process, however that
 * ends. Node has no such call, so it comes from the C library.
 */
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import koffi from 'koffi';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';

/** sys/file.h, the same on every Unix. */
const lockExclusive = 2;
const lockNonBlocking = 4;

const pollMs = 100;
/** Long enough for somebody else to load a large blob over a slow line. */
const maxWaitMs = 6 * 3_600_000;
/** Several users of one group may share a cache. */
const lockFileMode = 0o664;

type Flock = (fd: number, operation: number) => number;
let loadedFlock: Flock | undefined;

/** Loaded at first use: koffi's settings, which the runtime changes when it is imported, are fixed from then on. */
function flock(fd: number, operation: number): number {
  loadedFlock ??= koffi.load(null).func('int flock(int fd, int operation)') as Flock;
  return loadedFlock(fd, operation);
}

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
      for (let isFirst = true; !tryLock(handle, file); isFirst = false) {
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

function tryLock({ fd }: FileHandle, file: string): boolean {
  if (flock(fd, lockExclusive | lockNonBlocking) === 0) return true;
  const { EAGAIN, EACCES, EINTR } = koffi.os.errno;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EACCES || errno === EINTR) return false;
  throw new TriremeError('IO_ERROR', `cannot lock ${file}: error ${errno} of flock`, {
    remedy: 'Put the cache on a file system with locks, by HF_HUB_CACHE',
  });
}

function stillBusy(file: string): TriremeError {
  return new TriremeError('CACHE_BUSY', `another process has held ${file} for ${maxWaitMs / 3_600_000} hours`, {
    remedy: 'Find and end it, then run the same command again',
  });
}
