/**
 * The shared memory in which the ranks of one process meet. Every rank of the group has two slices here, used in turn, and
 * a generation: the number of collective calls it has entered with its part in place. Ranks of other processes have
 * theirs as well; the I/O thread mirrors what they send, so a rank cannot tell the difference.
 *
 * A slice of generation g may be overwritten for g + 2 once its owner has seen everybody enter g + 1, which a rank
 * does only after it has read all of g.
 */
import { assert } from '#platform/assert.ts';

const wordBytes = 4;
/** One line each, so that ranks that spin on different words do not share a cache line. */
const lineWords = 16;
const reasonBytes = 512;
const sliceAlignment = 64;

/** Words of a rank's line. */
const generationWord = 0;
const sleepersWord = 1;
const lengthWord = 2; // and 3: one per slice
const wordsOfRank = (rank: number): number => (rank + 1) * lineWords;

export class TeamMemory {
  readonly buffer: SharedArrayBuffer;
  readonly ranks: number;
  /** Bytes of one slice: the largest part that travels in one go. */
  readonly sliceBytes: number;
  readonly words: Int32Array;
  readonly #reason: Uint8Array;
  /** Two of each a rank, made once: a wait must not cost an allocation. */
  readonly #slices: readonly Uint8Array[];
  readonly #floats: readonly Float32Array[];

  private constructor(buffer: SharedArrayBuffer, ranks: number, sliceBytes: number) {
    this.buffer = buffer;
    this.ranks = ranks;
    this.sliceBytes = sliceBytes;
    const wordCount = (ranks + 1) * lineWords;
    this.words = new Int32Array(buffer, 0, wordCount);
    this.#reason = new Uint8Array(buffer, wordCount * wordBytes, reasonBytes);
    const start = wordCount * wordBytes + reasonBytes;
    const starts = Array.from({ length: 2 * ranks }, (_, index) => start + index * sliceBytes);
    this.#slices = starts.map((offset) => new Uint8Array(buffer, offset, sliceBytes));
    this.#floats = starts.map((offset) => new Float32Array(buffer, offset, sliceBytes / wordBytes));
  }

  static create(ranks: number, partBytes: number): TeamMemory {
    assert(ranks > 0 && partBytes > 0, 'a team has ranks and parts');
    const sliceBytes = Math.ceil(partBytes / sliceAlignment) * sliceAlignment;
    const head = (ranks + 1) * lineWords * wordBytes + reasonBytes;
    return new TeamMemory(new SharedArrayBuffer(head + 2 * ranks * sliceBytes), ranks, sliceBytes);
  }

  /** The same memory seen from another thread. */
  static attach(buffer: SharedArrayBuffer, ranks: number): TeamMemory {
    const head = (ranks + 1) * lineWords * wordBytes + reasonBytes;
    return new TeamMemory(buffer, ranks, (buffer.byteLength - head) / (2 * ranks));
  }

  /** Index into `words` of a rank's generation, to wait on. */
  generationIndex(rank: number): number {
    return wordsOfRank(rank) + generationWord;
  }

  generation(rank: number): number {
    return Atomics.load(this.words, wordsOfRank(rank) + generationWord);
  }

  /** Which of the two slices a generation uses; the same object every time. */
  slice(rank: number, generation: number): Uint8Array {
    return this.#slices[2 * rank + (generation & 1)]!;
  }

  floats(rank: number, generation: number): Float32Array {
    return this.#floats[2 * rank + (generation & 1)]!;
  }

  /** Bytes of the rank's part from this slice on; more than a slice when the part goes on in the next generation. */
  remainingBytes(rank: number, generation: number): number {
    return this.words[wordsOfRank(rank) + lengthWord + (generation & 1)]!;
  }

  /** Makes a rank's part of this generation visible, and wakes whoever sleeps on it. */
  publish(rank: number, generation: number, remainingBytes: number): void {
    const base = wordsOfRank(rank);
    this.words[base + lengthWord + (generation & 1)] = remainingBytes;
    Atomics.store(this.words, base + generationWord, generation);
    if (Atomics.load(this.words, base + sleepersWord) > 0) Atomics.notify(this.words, base + generationWord);
  }

  /** Around a sleep on a rank's generation: publish() pays for a wake-up only when somebody sleeps. */
  enterSleep(rank: number): void {
    Atomics.add(this.words, wordsOfRank(rank) + sleepersWord, 1);
  }

  leaveSleep(rank: number): void {
    Atomics.sub(this.words, wordsOfRank(rank) + sleepersWord, 1);
  }

  /** Index into `words` of the abort word. */
  readonly abortIndex = 0;

  get aborted(): boolean {
    return Atomics.load(this.words, this.abortIndex) !== 0;
  }

  /** The first reason stays. Every wait in this process ends. */
  abort(reason: string): void {
    const text = Buffer.from(reason).subarray(0, reasonBytes - 1);
    if (Atomics.compareExchange(this.words, this.abortIndex, 0, -1) === 0) {
      this.#reason.set(text);
      Atomics.store(this.words, this.abortIndex, 1 + text.length);
    }
    Atomics.notify(this.words, this.abortIndex);
    for (let rank = 0; rank < this.ranks; rank++) Atomics.notify(this.words, this.generationIndex(rank));
  }

  get abortReason(): string {
    const length = Atomics.load(this.words, this.abortIndex) - 1;
    return length > 0 ? Buffer.from(this.#reason.slice(0, length)).toString() : 'aborted';
  }
}

/** True when generation a has reached b; right across the wrap of 32 bits. */
export function hasReached(a: number, b: number): boolean {
  return ((a - b) | 0) >= 0;
}
