/** flock(2): a lock on an open file or folder that ends with its process, however that ends. Node has no such call, so it comes from the C library. */
import type { FileHandle } from 'node:fs/promises';
import koffi from 'koffi';
import { TriremeError } from './errors.ts';

/** sys/file.h, the same on every Unix. */
const lockExclusive = 2;
const lockNonBlocking = 4;

type Flock = (fd: number, operation: number) => number;
let loadedFlock: Flock | undefined;

/** Loaded at first use: koffi's settings, which the runtime changes when it is imported, are fixed from then on. */
function flock(fd: number, operation: number): number {
  loadedFlock ??= koffi.load(null).func('int flock(int fd, int operation)') as Flock;
  return loadedFlock(fd, operation);
}

/**
 * False when somebody else holds the lock. It is given back when the handle is closed. `place` and `remedy` are for errors: IO_ERROR where
 * the file system has no locks.
 */
export function tryLock({ fd }: FileHandle, place: string, remedy: string): boolean {
  if (flock(fd, lockExclusive | lockNonBlocking) === 0) return true;
  const { EAGAIN, EACCES, EINTR } = koffi.os.errno;
  const errno = koffi.errno();
  if (errno === EAGAIN || errno === EACCES || errno === EINTR) return false;
  throw new TriremeError('IO_ERROR', `cannot lock ${place}: error ${errno} of flock`, { remedy });
}
