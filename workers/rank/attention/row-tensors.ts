/** Views of rows of a step's buffer with more dimensions than rows and width. */
import type { Runtime, Tensor } from '../../runtime/runtime.ts';

/** Rows of a chunk that go through attention together: their scores should fit the second-level cache. */
export const rowsPerCall = 64;

/** Of a buffer [rows, ...dims], made once per place. */
export class RowTensors {
  readonly #runtime: Runtime;
  readonly #data: Float32Array;
  readonly #dims: readonly number[];
  readonly #width: number;
  readonly #single: Tensor[] = [];
  readonly #several = new Map<number, Tensor>();

  constructor(runtime: Runtime, data: Float32Array, dims: readonly number[]) {
    this.#runtime = runtime;
    this.#data = data;
    this.#dims = dims;
    this.#width = dims.reduce((product, size) => product * size, 1);
  }

  /** One row without a row dimension. */
  row(index: number): Tensor {
    const known = this.#single[index];
    if (known) return known;
    const tensor = this.#runtime.tensor(this.#slice(index, 1), this.#dims);
    this.#single[index] = tensor;
    return tensor;
  }

  rows(first: number, count: number): Tensor {
    const key = first * rowsPerCall * 2 + count;
    const known = this.#several.get(key);
    if (known) return known;
    const tensor = this.#runtime.tensor(this.#slice(first, count), [count, ...this.#dims]);
    this.#several.set(key, tensor);
    return tensor;
  }

  #slice(first: number, count: number): Float32Array {
    return this.#data.subarray(first * this.#width, (first + count) * this.#width);
  }
}
