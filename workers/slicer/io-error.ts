/** Turns what the file system says into operating errors. */
import { TriremeError } from '#platform/errors.ts';

function codeOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
}

export function isMissing(cause: unknown): boolean {
  return codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ENOTDIR';
}

/** `doing` completes the sentence "cannot ...". What is an operating error already passes unchanged. */
export function asIoError(cause: unknown, doing: string): TriremeError {
  if (cause instanceof TriremeError) return cause;
  const code = codeOf(cause);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new TriremeError('DISK_FULL', `cannot ${doing}: no space left`, {
      remedy: 'Free some space or choose another folder; nothing was left behind',
      cause,
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new TriremeError(code === undefined ? 'INTERNAL' : 'IO_ERROR', `cannot ${doing}: ${reason}`, { cause });
}
