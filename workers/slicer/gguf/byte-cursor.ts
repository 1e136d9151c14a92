/**
 * Reads the little-endian fields of a GGUF file from its first bytes. Believes no length that the file's size contradicts, and says
 * when a field lies beyond the bytes that were given.
 */
import { TriremeError } from '#platform/errors.ts';

/** Thrown when the file goes on and the bytes do not: give more, and read again from the start. */
export class BeyondBytes {
  readonly end: number;

  constructor(end: number) {
    this.end = end;
  }
}

/** A byte order mark is a character like others: there are tokens of it. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class ByteCursor {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #fileBytes: number;
  readonly #file: string;
  #position = 0;

  /** `bytes` are the file's first, `fileBytes` its size; `file` is its name for messages. */
  constructor(bytes: Uint8Array, fileBytes: number, file: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#fileBytes = fileBytes;
    this.#file = file;
  }

  get position(): number {
    return this.#position;
  }

  u8(what: string): number {
    return this.#view.getUint8(this.#take(1, what));
  }

  i8(what: string): number {
    return this.#view.getInt8(this.#take(1, what));
  }

  u16(what: string): number {
    return this.#view.getUint16(this.#take(2, what), true);
  }

  i16(what: string): number {
    return this.#view.getInt16(this.#take(2, what), true);
  }

  u32(what: string): number {
    return this.#view.getUint32(this.#take(4, what), true);
  }

  i32(what: string): number {
    return this.#view.getInt32(this.#take(4, what), true);
  }

  f32(what: string): number {
    return this.#view.getFloat32(this.#take(4, what), true);
  }

  f64(what: string): number {
    return this.#view.getFloat64(this.#take(8, what), true);
  }

  u64(what: string): bigint {
    return this.#view.getBigUint64(this.#take(8, what), true);
  }

  i64(what: string): bigint {
    return this.#view.getBigInt64(this.#take(8, what), true);
  }

  /** A number of things of which each takes at least `leastBytes`. Errors: TRUNCATED_FILE when the file cannot hold them. */
  count(leastBytes: number, what: string): number {
    const count = this.u64(what);
    const room = Math.floor((this.#fileBytes - this.#position) / leastBytes);
    if (count > BigInt(room)) throw this.#truncated(`${what} is ${count}, and ${room} would fill the file`);
    return Number(count);
  }

  /** Errors: TRUNCATED_FILE; INVALID_CHECKPOINT when it is not UTF-8. */
  text(what: string): string {
    const length = this.count(1, `the length of ${what}`);
    const start = this.#take(length, what);
    try {
      return utf8.decode(this.#bytes.subarray(start, start + length));
    } catch (cause) {
      throw new TriremeError('INVALID_CHECKPOINT', `${this.#file}: ${what} is not UTF-8`, {
        remedy: 'Fetch the file again',
        cause,
      });
    }
  }

  /** Where `length` bytes start, which count as read. */
  #take(length: number, what: string): number {
    const start = this.#position;
    const end = start + length;
    if (end > this.#fileBytes) throw this.#truncated(`${what} goes to byte ${end}, the file has ${this.#fileBytes}`);
    if (end > this.#bytes.length) throw new BeyondBytes(end);
    this.#position = end;
    return start;
  }

  #truncated(reason: string): TriremeError {
    return new TriremeError('TRUNCATED_FILE', `${this.#file} ends early: ${reason}`, {
      remedy: 'Fetch the file again',
    });
  }
}
