/**
 * Files of a folder that somebody else has filled. Under a name there may be a folder, a pipe that nobody writes to or a device without
 * end: only a regular file is opened.
 */
import { readFileSync, type Stats, statSync } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from './errors.ts';
import { asIoError, isMissing } from './io-error.ts';

/** No description of a model is longer: tokenizers have some tens of MiB. */
const largestBytes = 256 << 20;

/** The whole file, or undefined when there is none. Errors: IO_ERROR. */
export async function readPlainFile(file: string): Promise<Uint8Array | undefined> {
  try {
    refuseOdd(file, await stat(file), largestBytes);
    return await readFile(file);
  } catch (cause) {
    return undefinedIfMissing(file, cause);
  }
}

/** The same, for a thread that may block. */
export function readPlainFileSync(file: string): Uint8Array | undefined {
  try {
    refuseOdd(file, statSync(file), largestBytes);
    return readFileSync(file);
  } catch (cause) {
    return undefinedIfMissing(file, cause);
  }
}

/** For reading, whatever its size; undefined when there is none. Errors: IO_ERROR. */
export async function openPlainFile(file: string): Promise<FileHandle | undefined> {
  try {
    refuseOdd(file, await stat(file), Number.POSITIVE_INFINITY);
    return await open(file);
  } catch (cause) {
    return undefinedIfMissing(file, cause);
  }
}

function refuseOdd(file: string, stats: Stats, mostBytes: number): void {
  if (!stats.isFile()) {
    throw new TriremeError('IO_ERROR', `${file} is ${stats.isDirectory() ? 'a folder' : 'no regular file'}`, {
      remedy: `Put the file ${path.basename(file)} there`,
    });
  }
  if (stats.size <= mostBytes) return;
  throw new TriremeError('IO_ERROR', `${file} has ${stats.size} bytes, more than ${mostBytes}`, {
    remedy: 'Fetch the file again',
  });
}

function undefinedIfMissing(file: string, cause: unknown): undefined {
  if (!isMissing(cause)) throw asIoError(cause, `read ${file}`);
  return undefined;
}
