/** Names of files as a server sends them. They become paths on this machine, so only plain relative ones pass. */
import { TriremeError } from '#platform/errors.ts';

const maxPathBytes = 1024;
/** What file systems allow for one name. */
const maxNameBytes = 255;

/** Errors: UNSAFE_FILE_NAME. */
export function requireSafePath(path: string, repo: string): void {
  const reason = whyUnsafe(path);
  if (reason === undefined) return;
  throw new TriremeError('UNSAFE_FILE_NAME', `${repo} lists a file named ${JSON.stringify(path)}, which ${reason}`, {
    remedy: 'Nothing was loaded; do not trust this repository',
  });
}

function whyUnsafe(path: string): string | undefined {
  const names = path.split('/');
  const bytes = (text: string): number => Buffer.byteLength(text);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  if (/[\x00-\x1f\x7f]/.test(path)) return 'has a control character';
  if (!path.isWellFormed()) return 'is not Unicode';
  if (path.includes('\\') || /^[A-Za-z]:/.test(path)) return 'is a path of Windows';
  if (names.includes('..') || names.includes('.')) return 'leads to another folder';
  if (path.startsWith('/')) return 'is absolute';
  if (names.includes('')) return 'has an empty part';
  if (bytes(path) > maxPathBytes || names.some((name) => bytes(name) > maxNameBytes)) return 'is too long';
  return undefined;
}
