/**
 * A rank's matrix, described: rectangles of stored tensors one below the other, then rows of zeros. Reading it never
 * holds more than a chunk of rows.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Range } from '../models/shard.ts';
import type { ModelTensors } from './model-tensors.ts';

/** Stored bytes that are read at a time, and always at least one row. */
const chunkBytes = 4 << 20;

/** Of a stored matrix [rows, columns], or of a vector, which counts as one column. */
export interface Rectangle {
  readonly tensor: string;
  readonly rows: Range;
  readonly columns: Range;
}

export interface Matrix {
  readonly parts: readonly Rectangle[];
  readonly rows: number;
  readonly columns: number;
}

/** `rows` beyond those of the parts are zeros. */
export function stack(parts: readonly Rectangle[], rows?: number): Matrix {
  const columns = parts[0]?.columns.count ?? 0;
  assert(columns > 0 && parts.every((part) => part.columns.count === columns), 'stacked parts are equally wide');
  const filled = parts.reduce((sum, part) => sum + part.rows.count, 0);
  assert(rows === undefined || rows >= filled, 'padding adds rows');
  return { parts, rows: rows ?? filled, columns };
}

/** A whole vector as a matrix of one column. */
export function vector(tensor: string, rows: Range): Matrix {
  return stack([{ tensor, rows, columns: { first: 0, count: 1 } }]);
}

export class MatrixReader {
  readonly #tensors: ModelTensors;
  #values = new Float32Array(chunkBytes / 2);

  constructor(tensors: ModelTensors) {
    this.#tensors = tensors;
  }

  /**
   * Calls `take` with the matrix's rows in order, some at a time; `values` [rows, columns] is valid during the call. Errors: those of
   * ModelTensors.read; INVALID_CHECKPOINT for values that are no numbers.
   */
  async read(matrix: Matrix, take: (values: Float32Array, rows: number) => Promise<void>): Promise<void> {
    let rows = 0;
    for (const part of matrix.parts) {
      await this.#readPart(part, take);
      rows += part.rows.count;
    }
    const perChunk = Math.max(1, Math.floor(this.#values.length / matrix.columns));
    while (rows < matrix.rows) {
      const count = Math.min(perChunk, matrix.rows - rows);
      await take(this.#valuesFor(count * matrix.columns).fill(0), count);
      rows += count;
    }
  }

  async #readPart(part: Rectangle, take: (values: Float32Array, rows: number) => Promise<void>): Promise<void> {
    const { tensor, columns } = part;
    const perChunk = Math.max(1, Math.floor(chunkBytes / this.#tensors.rowBytes(tensor)));
    for (let done = 0; done < part.rows.count; done += perChunk) {
      const rows = Math.min(perChunk, part.rows.count - done);
      const values = this.#valuesFor(rows * columns.count);
      await this.#tensors.read(tensor, { first: part.rows.first + done, count: rows }, columns, values);
      refuseNonFinite(values, tensor);
      await take(values, rows);
    }
  }

  #valuesFor(count: number): Float32Array {
    if (this.#values.length < count) this.#values = new Float32Array(count);
    return this.#values.subarray(0, count);
  }
}

/** All ones in a float32's exponent: infinity or NaN. */
const exponent = 0x7f80_0000;

/** One such weight makes every logit NaN, and quantising would turn it into a number nobody trained. */
function refuseNonFinite(values: Float32Array, tensor: string): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) {
    if ((words[i]! & exponent) !== exponent) continue;
    throw new TriremeError('INVALID_CHECKPOINT', `tensor ${tensor} holds ${values[i]}, which is no weight`, {
      remedy: 'Fetch the file again, or choose another model',
    });
  }
}
