/** SHA-256 of files: of one that is there, by streaming it, and of one that is being written, on the way. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { asIoError } from '#platform/io-error.ts';
import type { FileDigest } from '../models/manifest.ts';
import type { Progress } from './progress.ts';

const bufferBytes = 4 << 20;

/** `file` is relative to `folder`, and how the digest names it. Errors: IO_ERROR, CANCELLED. */
export async function digestFile(folder: string, file: string, progress: Progress): Promise<FileDigest> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(bufferBytes);
  let bytes = 0;
  try {
    await using handle = await open(path.join(folder, file));
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, bufferBytes);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
      progress.advance(bytesRead);
    }
  } catch (cause) {
    throw asIoError(cause, `read ${file}`);
  }
  return { path: file, bytes, sha256: hash.digest('hex') };
}

export function digestBytes(file: string, contents: Uint8Array): FileDigest {
  return { path: file, bytes: contents.length, sha256: createHash('sha256').update(contents).digest('hex') };
}

/** Appends to a new file and knows its digest in the end. Small writes are gathered. */
export class DigestedFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  readonly #buffer = Buffer.alloc(bufferBytes);
  #buffered = 0;
  #bytes = 0;

  private constructor(filePath: string, handle: FileHandle) {
    this.#path = filePath;
    this.#handle = handle;
  }

  /** Errors: DISK_FULL, IO_ERROR. Close it in every case. */
  static async create(folder: string, file: string): Promise<DigestedFile> {
    try {
      return new DigestedFile(file, await open(path.join(folder, file), 'wx'));
    } catch (cause) {
      throw asIoError(cause, `create ${file}`);
    }
  }

  /** Bytes appended so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `data` may be reused when the promise is fulfilled. Errors: DISK_FULL, IO_ERROR. */
  async append(data: Uint8Array): Promise<void> {
    this.#bytes += data.length;
    if (this.#buffered + data.length > bufferBytes) await this.#flush();
    if (data.length >= bufferBytes) {
      await this.#write(data);
    } else {
      this.#buffer.set(data, this.#buffered);
      this.#buffered += data.length;
    }
  }

  /** Appends zeros up to `offset`. */
  async padTo(offset: number): Promise<void> {
    if (offset > this.#bytes) await this.append(new Uint8Array(offset - this.#bytes));
  }

  async finish(): Promise<FileDigest> {
    await this.#flush();
    return { path: this.#path, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #flush(): Promise<void> {
    const data = this.#buffer.subarray(0, this.#buffered);
    this.#buffered = 0;
    if (data.length > 0) await this.#write(data);
  }

  async #write(data: Uint8Array): Promise<void> {
    this.#hash.update(data);
    try {
      for (let done = 0; done < data.length; ) {
        const { bytesWritten } = await this.#handle.write(data, done, data.length - done);
        done += bytesWritten;
      }
    } catch (cause) {
      throw asIoError(cause, `write ${this.#path}`);
    }
  }
}
