/** SHA-256 of files: of one that is there, by streaming it, and of one that is being written, on the way. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { asIoError } from '#platform/io-error.ts';
import type { FileDigest } from '../models/manifest.ts';

const bufferBytes = 4 << 20;

/** `file` is relative to `folder`, and how the digest names it. Errors: IO_ERROR; what `onRead`, told how many bytes were read, throws. */
export async function digestFile(folder: string, file: string, onRead: (bytes: number) => void): Promise<FileDigest> {
  const hash = createHash('sha256');
  const buffers = [Buffer.alloc(bufferBytes), Buffer.alloc(bufferBytes)];
  let bytes = 0;
  try {
    await using handle = await open(path.join(folder, file));
    let reading = handle.read(buffers[0]!, 0, bufferBytes);
    for (let turn = 1; ; turn++) {
      const { bytesRead, buffer } = await reading;
      if (bytesRead === 0) break;
      // The next part is read while this one is hashed.
      reading = handle.read(buffers[turn % 2]!, 0, bufferBytes);
      reading.catch(() => {}); // Told by the turn that waits for it, or the work has ended.
      hash.update(buffer.subarray(0, bytesRead));
      bytes += bytesRead;
      onRead(bytesRead);
    }
  } catch (cause) {
    throw asIoError(cause, `read ${file}`);
  }
  return { path: file, bytes, sha256: hash.digest('hex') };
}

export function digestBytes(file: string, contents: Uint8Array): FileDigest {
  return { path: file, bytes: contents.length, sha256: createHash('sha256').update(contents).digest('hex') };
}

/**
 * Appends to a new file and knows its digest in the end. Small writes are gathered, and a full buffer is written while the next
 * one fills: what makes the bytes and what writes them work at the same time.
 */
export class DigestedFile {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  /** Fills. */
  #buffer = Buffer.alloc(bufferBytes);
  /** Is being written, or was. */
  #other = Buffer.alloc(bufferBytes);
  #buffered = 0;
  #bytes = 0;
  #writing: Promise<void> = Promise.resolve();

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

  /** `data` may be reused when the promise is fulfilled. Errors: DISK_FULL, IO_ERROR, also of what was appended before. */
  async append(data: Uint8Array): Promise<void> {
    this.#bytes += data.length;
    for (let done = 0; done < data.length; ) {
      const part = data.subarray(done, done + bufferBytes - this.#buffered);
      this.#buffer.set(part, this.#buffered);
      this.#buffered += part.length;
      done += part.length;
      if (this.#buffered === bufferBytes) await this.#flush();
    }
  }

  /** Appends zeros up to `offset`. */
  async padTo(offset: number): Promise<void> {
    if (offset > this.#bytes) await this.append(new Uint8Array(offset - this.#bytes));
  }

  async finish(): Promise<FileDigest> {
    await this.#flush();
    await this.#writing;
    return { path: this.#path, bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => {}); // Told by append() or finish(), or nobody wants the file any more.
    await this.#handle.close();
  }

  /** Starts to write the buffer, once the one before is written. */
  async #flush(): Promise<void> {
    await this.#writing;
    const data = this.#buffer.subarray(0, this.#buffered);
    [this.#buffer, this.#other] = [this.#other, this.#buffer];
    this.#buffered = 0;
    this.#writing = this.#write(data);
    this.#writing.catch(() => {}); // Whoever waits for it next is told.
    this.#hash.update(data);
  }

  async #write(data: Uint8Array): Promise<void> {
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
