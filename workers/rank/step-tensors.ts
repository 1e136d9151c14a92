/**
 * Memory of one rank's step and views of it. Every buffer is made once for the largest step; views for a given number of
 * rows are made the first time that number comes up, so a step in steady state allocates nothing.
 */
import { assert } from '#platform/assert.ts';
import type { Runtime, Tensor, TensorData } from '../runtime/runtime.ts';

/** A [rows, width] buffer and its views of the first n rows. */
export class Rows {
  readonly data: Float32Array;
  readonly width: number;
  readonly #runtime: Runtime;
  readonly #heads: Tensor[] = [];
  readonly #singles: Tensor[] = [];
  readonly #parts = new Map<string, Tensor>();

  constructor(runtime: Runtime, rows: number, width: number) {
    this.#runtime = runtime;
    this.width = width;
    this.data = new Float32Array(Math.max(64, rows * width));
  }

  /** The first n rows. */
  first(n: number): Tensor {
    const known = this.#heads[n];
    if (known) return known;
    const tensor = this.#runtime.tensor(this.data.subarray(0, n * this.width), [n, this.width]);
    this.#heads[n] = tensor;
    return tensor;
  }

  /** Row i as [1, width]. */
  single(i: number): Tensor {
    const known = this.#singles[i];
    if (known) return known;
    const tensor = this.#runtime.tensor(this.row(i), [1, this.width]);
    this.#singles[i] = tensor;
    return tensor;
  }

  /** `count` rows from `first` on. */
  some(first: number, count: number): Tensor {
    if (first === 0) return this.first(count);
    const key = `${first}:${count}`;
    const known = this.#parts.get(key);
    if (known) return known;
    const { width } = this;
    const tensor = this.#runtime.tensor(this.data.subarray(first * width, (first + count) * width), [count, width]);
    this.#parts.set(key, tensor);
    return tensor;
  }

  row(i: number): Float32Array {
    return this.data.subarray(i * this.width, (i + 1) * this.width);
  }

  /** The views are void afterwards. */
  release(): void {
    for (const tensors of [this.#heads, this.#singles]) {
      for (const tensor of tensors) tensor?.release();
      tensors.length = 0;
    }
    for (const tensor of this.#parts.values()) tensor.release();
    this.#parts.clear();
  }
}

/** A collective hands out two slices in turn, and for longer parts a buffer that grew by doubling. */
const borrowedMax = 34;

/** Views of memory that somebody else owns (the part buffers of a collective), by buffer and rows. */
export class BorrowedRows {
  readonly #runtime: Runtime;
  readonly #width: number;
  readonly #known = new Map<Float32Array, Map<number, Tensor>>();

  constructor(runtime: Runtime, width: number) {
    this.#runtime = runtime;
    this.#width = width;
  }

  first(buffer: Float32Array, n: number): Tensor {
    let byRows = this.#known.get(buffer);
    if (!byRows) {
      assert(this.#known.size < borrowedMax, 'a collective reuses its part buffers');
      byRows = new Map();
      this.#known.set(buffer, byRows);
    }
    const known = byRows.get(n);
    if (known) return known;
    const tensor = this.#runtime.tensor(buffer.subarray(0, n * this.#width), [n, this.#width]);
    byRows.set(n, tensor);
    return tensor;
  }
}

/** 1-D or 2-D views of the first n elements of an index buffer. */
export class Indices {
  readonly data: BigInt64Array;
  readonly #runtime: Runtime;
  readonly #dims: (n: number) => readonly number[];
  readonly #known: Tensor[] = [];

  constructor(runtime: Runtime, count: number, dims: (n: number) => readonly number[]) {
    this.#runtime = runtime;
    this.#dims = dims;
    this.data = new BigInt64Array(Math.max(32, count));
  }

  first(n: number): Tensor {
    const known = this.#known[n];
    if (known) return known;
    const data: TensorData = this.data.subarray(0, n);
    const tensor = this.#runtime.tensor(data, this.#dims(n));
    this.#known[n] = tensor;
    return tensor;
  }
}
