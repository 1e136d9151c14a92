/** A rank's matrix, described: rectangles of stored tensors one below the other, then rows of zeros. */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Range } from '../models/shard.ts';
import type { ModelTensors } from './model-tensors.ts';

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

/** These rows of a matrix. */
export function rowsOf(matrix: Matrix, rows: Range): Matrix {
  const parts: Rectangle[] = [];
  let start = 0;
  for (const part of matrix.parts) {
    const first = Math.max(rows.first, start);
    const end = Math.min(rows.first + rows.count, start + part.rows.count);
    if (first < end) parts.push({ ...part, rows: { first: part.rows.first + first - start, count: end - first } });
    start += part.rows.count;
  }
  return { parts, rows: rows.count, columns: matrix.columns };
}

/**
 * Fills `values` [rows, columns]. Errors: those of ModelTensors.read; INVALID_CHECKPOINT for values that are no numbers.
 */
export async function readMatrix(tensors: ModelTensors, matrix: Matrix, values: Float32Array): Promise<void> {
  let done = 0;
  for (const { tensor, rows, columns } of matrix.parts) {
    const part = values.subarray(done, done + rows.count * columns.count);
    await tensors.read(tensor, rows, columns, part);
    refuseNonFinite(part, tensor);
    done += part.length;
  }
  values.fill(0, done);
}

/** All ones in a float32's exponent: infinity or NaN. */
const exponent = 0x7f80_0000;
/** Added to the exponent alone, it reaches the sign when all its bits were ones. */
const lowestExponentBit = 0x0080_0000;

/** One such weight makes every logit NaN, and quantising would turn it into a number nobody trained. */
function refuseNonFinite(values: Float32Array, tensor: string): void {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length);
  let signs = 0;
  // Without a branch, which makes it several times faster.
  for (let i = 0; i < words.length; i++) signs |= (words[i]! & exponent) + lowestExponentBit;
  if (signs >= 0) return;
  const odd = values.find((value) => !Number.isFinite(value));
  throw new TriremeError('INVALID_CHECKPOINT', `tensor ${tensor} holds ${odd}, which is no weight`, {
    remedy: 'Fetch the file again, or choose another model',
  });
}
