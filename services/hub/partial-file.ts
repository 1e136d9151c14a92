/**
 * A file while it is loaded: several parts grow at once, each from its own beginning, and after a crash each goes on where it
 * was. How far the parts are is written behind the content, so that there is one file and no other to fit to it:
 *
 *   0 .. bytes            content, with gaps
 *   bytes .. bytes + 8    bytes of a part (all but the last)
 *   then 8 for each part  how many bytes of it are there
 *
 * A file as long as the content alone is one whose trailer has been cut off: all of it was there.
 */
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { assert } from '#platform/assert.ts';
import { isMissing } from '#platform/io-error.ts';

export interface Part {
  readonly index: number;
  /** Range in the file; end exclusive. */
  readonly begin: number;
  readonly end: number;
  /** Bytes from `begin` on that are there. */
  readonly done: number;
}

interface GrowingPart extends Part {
  done: number;
}

const wordBytes = 8;
/** Of a file of a petabyte; whatever is longer is no trailer. */
const maxTrailerBytes = 128 << 20;

export class PartialFile implements AsyncDisposable {
  readonly bytes: number;
  readonly parts: readonly Part[];
  readonly handle: FileHandle;
  readonly #path: string;
  readonly #parts: readonly GrowingPart[];
  #hasTrailer: boolean;

  private constructor(
    path: string,
    handle: FileHandle,
    bytes: number,
    parts: readonly GrowingPart[],
    hasTrailer: boolean,
  ) {
    this.#path = path;
    this.handle = handle;
    this.bytes = bytes;
    this.#parts = parts;
    this.parts = parts;
    this.#hasTrailer = hasTrailer;
  }

  /**
   * Opens what an earlier run left, or begins anew when that is nothing or makes no sense. The caller holds the blob's lock.
   * Errors: those of the file system.
   */
  static async open(path: string, bytes: number, partBytes: number): Promise<PartialFile> {
    assert(partBytes > 0, 'a part without bytes');
    const handle = await openOrCreate(path);
    try {
      const left = await readState(handle, bytes);
      if (left) return new PartialFile(path, handle, bytes, left.parts, left.hasTrailer);
      await handle.truncate(0);
      const parts = divide(bytes, partBytes);
      // In one write, so that no other length than the full one is ever seen.
      await handle.write(trailerOf(partBytes, parts), 0, undefined, bytes);
      return new PartialFile(path, handle, bytes, parts, true);
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  get doneBytes(): number {
    return this.#parts.reduce((sum, { done }) => sum + done, 0);
  }

  /** Bytes from the beginning on without a gap. */
  get prefixBytes(): number {
    const gap = this.#parts.find(({ begin, end, done }) => begin + done < end);
    return gap ? gap.begin + gap.done : this.bytes;
  }

  /** Puts bytes behind those that a part has. They may be reused when the promise is fulfilled. */
  async append(part: Part, data: Uint8Array): Promise<void> {
    const growing = this.#growing(part);
    assert(growing.begin + growing.done + data.length <= growing.end, 'a part grows over its end');
    await writeAll(this.handle, data, growing.begin + growing.done);
    await this.#record(growing, growing.done + data.length);
  }

  /** Forgets what a part has. */
  async reset(part: Part): Promise<void> {
    await this.#record(this.#growing(part), 0);
  }

  /** Makes the whole content visible at `place`. A crash leaves it either here or there. */
  async publish(place: string): Promise<void> {
    assert(this.prefixBytes === this.bytes, 'an incomplete file is published');
    await this.handle.truncate(this.bytes);
    this.#hasTrailer = false;
    await this.handle.sync();
    await rename(this.#path, place);
  }

  /** Removes it from the disk. */
  async discard(): Promise<void> {
    await unlink(this.#path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handle.close();
  }

  #growing(part: Part): GrowingPart {
    const growing = this.#parts[part.index];
    assert(growing !== undefined && this.#hasTrailer, 'this part does not grow any more');
    return growing;
  }

  /** After the bytes themselves: a crash in between loses sight of them, but never counts what is not there. */
  async #record(part: GrowingPart, done: number): Promise<void> {
    part.done = done;
    const word = Buffer.alloc(wordBytes);
    word.writeBigUInt64LE(BigInt(done));
    await writeAll(this.handle, word, this.bytes + wordBytes * (1 + part.index));
  }
}

async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    return open(path, 'w+');
  }
}

function divide(bytes: number, partBytes: number): GrowingPart[] {
  return Array.from({ length: Math.ceil(bytes / partBytes) }, (_, index) => ({
    index,
    begin: index * partBytes,
    end: Math.min(bytes, (index + 1) * partBytes),
    done: 0,
  }));
}

function trailerOf(partBytes: number, parts: readonly Part[]): Buffer {
  const trailer = Buffer.alloc(wordBytes * (1 + parts.length));
  trailer.writeBigUInt64LE(BigInt(partBytes));
  for (const { index, done } of parts) trailer.writeBigUInt64LE(BigInt(done), wordBytes * (1 + index));
  return trailer;
}

/** Undefined when the file is new or not one of ours. */
async function readState(
  handle: FileHandle,
  bytes: number,
): Promise<{ parts: GrowingPart[]; hasTrailer: boolean } | undefined> {
  const { size } = await handle.stat();
  if (size === bytes && bytes > 0) {
    return { parts: divide(bytes, bytes).map((part) => ({ ...part, done: part.end - part.begin })), hasTrailer: false };
  }
  const trailerBytes = size - bytes;
  if (trailerBytes < wordBytes || trailerBytes > maxTrailerBytes || trailerBytes % wordBytes !== 0) return undefined;
  const trailer = Buffer.alloc(trailerBytes);
  const { bytesRead } = await handle.read(trailer, 0, trailer.length, bytes);
  const [partBytes = 0, ...done] = Array.from({ length: bytesRead / wordBytes }, (_, i) =>
    Number(trailer.readBigUInt64LE(wordBytes * i)),
  );
  if (partBytes === 0 || done.length !== Math.ceil(bytes / partBytes)) return undefined;
  const parts = divide(bytes, partBytes).map((part) => ({ ...part, done: done[part.index] ?? 0 }));
  return parts.every((part) => part.done <= part.end - part.begin) ? { parts, hasTrailer: true } : undefined;
}

async function writeAll(handle: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await handle.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}
