/** Turns what the file system says into operating errors. */
import { TriremeError } from './errors.ts';

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
}

export function isMissing(cause: unknown): boolean {
  return codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ENOTDIR';
}

/** A folder that should be replaced is not empty. */
export function isOccupied(cause: unknown): boolean {
  return codeOf(cause) === 'ENOTEMPTY' || codeOf(cause) === 'EEXIST';
}

const remedies: Readonly<Record<string, string>> = {
  EACCES: 'Give the user that runs this the right to it, or name another place',
  EPERM: 'Give the user that runs this the right to it, or name another place',
  EROFS: 'Choose a place that can be written',
  ELOOP: 'The link leads back to itself: put the file there',
  EMFILE: 'Raise the number of files that may be open: ulimit -n',
  EIO: 'The disk has failed to answer: look at the log of the system',
};

const nothingLeft = 'Free some space or choose another folder; nothing was left behind';

/**
 * `doing` completes the sentence "cannot ...", `whenFull` is the remedy for a full disk. What the file system did not say
 * (an operating error already, a broken invariant) passes unchanged.
 */
export function asIoError(cause: unknown, doing: string, whenFull = nothingLeft): unknown {
  const code = codeOf(cause);
  if (cause instanceof TriremeError || !(cause instanceof Error) || code === undefined) return cause;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new TriremeError('DISK_FULL', `cannot ${doing}: no space left`, {
      remedy: whenFull,
      cause,
    });
  }
  const remedy = remedies[code];
  return new TriremeError('IO_ERROR', `cannot ${doing}: ${cause.message}`, { cause, ...(remedy ? { remedy } : {}) });
}
