/**
 * Byte messages from one thread to one other through shared memory, in order, bounded. Either side may be a worker thread
 * that blocks or a main thread that must not: reading can be waited for in both ways. Neither side ever waits inside a
 * read; a full ring is the writer's affair.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';

/** Positions count bytes from the start of time, modulo 2^32; each has a cache line of its own. */
const writtenWord = 0;
const readWord = 16;
const closedWord = 32;
/** Whether the reader, and the writer, sleep: waking somebody up costs microseconds. */
const readerSleepsWord = 48;
const writerSleepsWord = 49;
const headBytes = 256;
const lengthBytes = 4;

export class Ring {
  /** Hand it to the other thread, which attaches. */
  readonly buffer: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #length = new Uint8Array(lengthBytes);

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer, 0, headBytes / 4);
    this.#bytes = new Uint8Array(buffer, headBytes);
  }

  /** Capacity in bytes, a power of two; every message takes four bytes beside its own. */
  static create(capacityBytes: number): Ring {
    const isPowerOfTwo = capacityBytes > 0 && (capacityBytes & (capacityBytes - 1)) === 0;
    assert(isPowerOfTwo && capacityBytes <= 1 << 30, 'positions wrap at a multiple of the capacity');
    return new Ring(new SharedArrayBuffer(headBytes + capacityBytes));
  }

  static attach(buffer: SharedArrayBuffer): Ring {
    return new Ring(buffer);
  }

  /** Longest message in bytes. */
  get messageBytesMax(): number {
    return this.#bytes.length - lengthBytes;
  }

  /** False: no room now. Errors: MESSAGE_TOO_LARGE for what will never fit. */
  tryWrite(message: Uint8Array): boolean {
    if (message.length > this.messageBytesMax) {
      const limit = `${message.length} bytes are more than the ${this.messageBytesMax} that a ring takes`;
      throw new TriremeError('MESSAGE_TOO_LARGE', limit);
    }
    const written = Atomics.load(this.#words, writtenWord);
    const used = (written - Atomics.load(this.#words, readWord)) | 0;
    if (used + lengthBytes + message.length > this.#bytes.length) return false;
    new DataView(this.#length.buffer).setUint32(0, message.length, true);
    this.#put(written, this.#length);
    this.#put(written + lengthBytes, message);
    Atomics.store(this.#words, writtenWord, (written + lengthBytes + message.length) | 0);
    if (Atomics.load(this.#words, readerSleepsWord) > 0) Atomics.notify(this.#words, writtenWord);
    return true;
  }

  /** Blocks until the message is written; false when there was no room for so long. Errors: as tryWrite. */
  write(message: Uint8Array, timeoutMs: number): boolean {
    const deadline = performance.now() + timeoutMs;
    Atomics.add(this.#words, writerSleepsWord, 1);
    try {
      for (;;) {
        const read = Atomics.load(this.#words, readWord);
        if (this.tryWrite(message)) return true;
        const left = deadline - performance.now();
        if (left <= 0 || this.closed) return false;
        Atomics.wait(this.#words, readWord, read, left);
      }
    } finally {
      Atomics.sub(this.#words, writerSleepsWord, 1);
    }
  }

  /** The next message, copied; undefined when there is none now. */
  read(): Uint8Array | undefined {
    const read = Atomics.load(this.#words, readWord);
    if (read === Atomics.load(this.#words, writtenWord)) return undefined;
    this.#take(read, this.#length);
    const message = new Uint8Array(new DataView(this.#length.buffer).getUint32(0, true));
    this.#take(read + lengthBytes, message);
    Atomics.store(this.#words, readWord, (read + lengthBytes + message.length) | 0);
    if (Atomics.load(this.#words, writerSleepsWord) > 0) Atomics.notify(this.#words, readWord);
    return message;
  }

  /** Blocks until there is a message, the ring is closed, or the time is over. */
  waitReadable(timeoutMs: number): void {
    Atomics.add(this.#words, readerSleepsWord, 1);
    const seen = Atomics.load(this.#words, readWord);
    if (!this.closed) Atomics.wait(this.#words, writtenWord, seen, timeoutMs);
    Atomics.sub(this.#words, readerSleepsWord, 1);
  }

  /** As waitReadable without a limit, for a thread that must not block. */
  async readable(): Promise<void> {
    Atomics.add(this.#words, readerSleepsWord, 1);
    const seen = Atomics.load(this.#words, readWord);
    const wait = Atomics.waitAsync(this.#words, writtenWord, seen);
    if (!this.closed && wait.async) await wait.value;
    Atomics.sub(this.#words, readerSleepsWord, 1);
  }

  /** Nothing more will come; what is in the ring can still be read. Wakes both sides. Safe from any thread, twice. */
  close(): void {
    Atomics.store(this.#words, closedWord, 1);
    Atomics.notify(this.#words, writtenWord);
    Atomics.notify(this.#words, readWord);
  }

  get closed(): boolean {
    return Atomics.load(this.#words, closedWord) !== 0;
  }

  #put(position: number, bytes: Uint8Array): void {
    const start = position & (this.#bytes.length - 1);
    const untilEnd = this.#bytes.length - start;
    this.#bytes.set(untilEnd < bytes.length ? bytes.subarray(0, untilEnd) : bytes, start);
    if (untilEnd < bytes.length) this.#bytes.set(bytes.subarray(untilEnd), 0);
  }

  #take(position: number, target: Uint8Array): void {
    const start = position & (this.#bytes.length - 1);
    const untilEnd = this.#bytes.length - start;
    target.set(this.#bytes.subarray(start, start + Math.min(target.length, untilEnd)));
    if (untilEnd < target.length) target.set(this.#bytes.subarray(0, target.length - untilEnd), untilEnd);
  }
}
