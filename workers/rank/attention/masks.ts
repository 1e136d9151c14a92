/** Which positions a row sees: itself and those before it, all or the nearest. As numbers to add to scores: 0 or -infinity. */
import type { Runtime, Tensor } from '../../runtime/runtime.ts';
import { paddedPositions } from './kv-cache.ts';

/** Native code may read a vector's width beyond the end. */
const tailFloats = 64;

export class CausalMasks {
  readonly #runtime: Runtime;
  readonly #window: number;
  /** -infinity, then a window of zeros, then a block of -infinity: every one-row mask is a view of it. */
  readonly #ramp: Float32Array;
  /** Where the window of the ramp ends. */
  readonly #windowEnd: number;
  readonly #rowMasks = new Map<number, Tensor>();
  /** Of this step, by first position and rows: all layers share them. */
  readonly #chunkMasks = new Map<string, Tensor>();

  /** A row sees itself and window-1 positions before it; null: all before it. */
  constructor(runtime: Runtime, contextLength: number, window: number | null) {
    this.#runtime = runtime;
    const longest = paddedPositions(contextLength);
    this.#window = Math.min(window ?? longest, longest);
    this.#windowEnd = this.#window === longest ? longest : longest + this.#window;
    this.#ramp = new Float32Array(this.#windowEnd + paddedPositions(1) + tailFloats).fill(Number.NEGATIVE_INFINITY);
    this.#ramp.fill(0, this.#windowEnd - this.#window, this.#windowEnd);
  }

  /** Forgets the masks of the step before. */
  beginStep(): void {
    for (const masks of [this.#rowMasks, this.#chunkMasks]) {
      for (const mask of masks.values()) mask.release();
      masks.clear();
    }
  }

  /** Of rows at positions first .. first+rows-1: [rows, first+rows rounded up to a block]. Valid for the step. */
  of(first: number, rows: number): Tensor {
    return rows === 1 ? this.#rowMask(first + 1) : this.#chunkMask(first, rows);
  }

  #rowMask(positions: number): Tensor {
    const known = this.#rowMasks.get(positions);
    if (known) return known;
    const padded = paddedPositions(positions);
    const start = this.#windowEnd - positions;
    const mask = this.#runtime.tensor(this.#ramp.subarray(start, start + padded), [1, padded]);
    this.#rowMasks.set(positions, mask);
    return mask;
  }

  #chunkMask(first: number, rows: number): Tensor {
    const key = `${first}:${rows}`;
    const known = this.#chunkMasks.get(key);
    if (known) return known;
    const padded = paddedPositions(first + rows);
    const data = new Float32Array(Math.max(tailFloats, rows * padded)).fill(Number.NEGATIVE_INFINITY);
    for (let row = 0; row < rows; row++) {
      const end = first + row + 1;
      data.fill(0, row * padded + Math.max(0, end - this.#window), row * padded + end);
    }
    const mask = this.#runtime.tensor(data.subarray(0, rows * padded), [rows, padded]);
    this.#chunkMasks.set(key, mask);
    return mask;
  }
}
