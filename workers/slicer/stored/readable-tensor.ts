/** A tensor as the model means it, whatever the format that a checkpoint stores it in. */
import type { Range } from '../../models/shard.ts';
import type { StoredIntegers } from './integers.ts';

/** From the first row and column on: the last of each may be smaller. */
export interface ScaleBlock {
  readonly rows: number;
  readonly columns: number;
}

export interface ReadableTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** What the file says: 'BF16', 'FP8 128x128'. */
  readonly format: string;
  /** Names of what is stored for it. */
  readonly stored: readonly string[];
  /** The format says that rows are what a product yields: it is never stored across, even where the shape would allow it. */
  readonly rowsAreOutputs?: true;
  /** What it is made of, where that is integers. */
  readonly integers?: StoredIntegers;
  /** Rows and columns that share a scale; undefined where that is none, a whole row, or no neighbours. */
  readonly scaleBlock?: ScaleBlock;
  /**
   * Fills `values` [rows, columns] with these columns of these rows, exactly as the format defines them; all dimensions but the
   * last are taken together as rows. Errors: those of Checkpoint.read; INVALID_CHECKPOINT.
   */
  read(rows: Range, columns: Range, values: Float32Array): Promise<void>;
  /** Bytes that reading a row takes, for choosing how many to read at a time. */
  readonly rowBytes: number;
}

/** All dimensions but the last together, and the last; a vector is one column. */
export function asMatrix(shape: readonly number[]): { readonly rows: number; readonly columns: number } {
  if (shape.length === 1) return { rows: shape[0]!, columns: 1 };
  const columns = shape.at(-1) ?? 1;
  return { rows: shape.slice(0, -1).reduce((product, size) => product * size, 1), columns };
}

/** Memory that reads share, one after the other. */
export class ReadBuffer {
  #memory = new ArrayBuffer(0);

  /** At least so many bytes; what they held is lost. */
  take(bytes: number): ArrayBuffer {
    if (this.#memory.byteLength < bytes) this.#memory = new ArrayBuffer(bytes);
    return this.#memory;
  }
}
