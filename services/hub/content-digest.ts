/** Reads a file and tells whether it is what its digest says. */
import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { TriremeError } from '#platform/errors.ts';
import type { ContentDigest } from './hub-file.ts';

const bufferBytes = 1 << 20;

/** Of the first `bytes` of an open file, as hex. Errors: TRUNCATED_FILE, the signal's reason, those of the file system. */
export async function digestOf(
  handle: FileHandle,
  bytes: number,
  algorithm: ContentDigest['algorithm'],
  signal: AbortSignal,
): Promise<string> {
  const hash = startHash(algorithm, bytes);
  const buffer = Buffer.alloc(Math.min(bufferBytes, bytes));
  for (let done = 0; done < bytes; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, bytes - done), done);
    if (bytesRead === 0) throw new TriremeError('TRUNCATED_FILE', 'a file became shorter while it was read');
    hash.update(buffer.subarray(0, bytesRead));
    done += bytesRead;
  }
  return hash.digest('hex');
}

/** Git hashes a header before the content. https://git-scm.com/book/en/v2/Git-Internals-Git-Objects */
function startHash(algorithm: ContentDigest['algorithm'], bytes: number): Hash {
  switch (algorithm) {
    case 'sha256':
      return createHash('sha256');
    case 'git-sha1':
      return createHash('sha1').update(`blob ${bytes}\0`);
  }
}
