/**
 * Lays out a rank's weights.bin before a byte of it is written: every weight gets its range, in the order in which the
 * writer will stream them. A weight that comes up again has the range that it has already.
 */
import type { ExternalRange } from '../models/onnx-graph.ts';
import type { KeptBlocks } from './kept-integers.ts';
import type { Matrix } from './matrix.ts';
import { type Bits, blocksPerRow, bytesPerBlock } from './quantise.ts';

export const weightsFile = 'weights.bin';

/** A cache line, and what vector loads like. */
export const weightAlignment = 64;

export type PlannedWeight =
  | {
      readonly kind: 'float';
      readonly matrix: Matrix;
      /** What is added to every value. */
      readonly added: number;
      readonly values: ExternalRange;
    }
  | {
      readonly kind: 'blocks';
      readonly bits: Bits;
      readonly matrix: Matrix;
      readonly values: ExternalRange;
      readonly scales: ExternalRange;
    }
  | {
      readonly kind: 'integers';
      readonly matrix: Matrix;
      readonly kept: KeptBlocks;
      readonly values: ExternalRange;
      readonly scales: ExternalRange;
      readonly zeros: ExternalRange | undefined;
    }
  | {
      /** Which column of a tensor comes where, as int64. */
      readonly kind: 'order';
      readonly tensor: string;
      readonly values: ExternalRange;
    };

export type WeightOf<Kind extends PlannedWeight['kind']> = PlannedWeight & { readonly kind: Kind };

export interface WeightRanges {
  readonly values: ExternalRange;
  readonly scales: ExternalRange | undefined;
  readonly zeros: ExternalRange | undefined;
}

/** Where a weight lies, in the order of the file. */
export function rangesOf(weight: PlannedWeight): WeightRanges {
  return {
    values: weight.values,
    scales: 'scales' in weight ? weight.scales : undefined,
    zeros: 'zeros' in weight ? weight.zeros : undefined,
  };
}

function align(offset: number): number {
  return Math.ceil(offset / weightAlignment) * weightAlignment;
}

export class WeightLayout {
  readonly weights: PlannedWeight[] = [];
  readonly #known = new Map<string, PlannedWeight>();
  #end = 0;

  /** Size of the file so far. */
  get bytes(): number {
    return this.#end;
  }

  /** A float32 matrix, row by row, with `added` to every value. */
  float(matrix: Matrix, added = 0): ExternalRange {
    return this.#once({ matrix, added }, () => {
      const values = this.#take(matrix.rows * matrix.columns * Float32Array.BYTES_PER_ELEMENT);
      return { kind: 'float', matrix, added, values } as const;
    }).values;
  }

  /** A matrix in blocks for MatMulNBits. */
  blocks(matrix: Matrix, bits: Bits): { readonly values: ExternalRange; readonly scales: ExternalRange } {
    return this.#once({ matrix, bits }, () => {
      const count = matrix.rows * blocksPerRow(matrix.columns);
      const values = this.#take(count * bytesPerBlock(bits));
      const scales = this.#take(count * Float32Array.BYTES_PER_ELEMENT);
      return { kind: 'blocks', bits, matrix, values, scales } as const;
    });
  }

  /** A matrix in the blocks and integers that it has in the checkpoint. */
  integers(matrix: Matrix, kept: KeptBlocks): Pick<WeightOf<'integers'>, 'values' | 'scales' | 'zeros'> {
    return this.#once({ matrix, kept }, () => {
      const blocks = Math.ceil(matrix.columns / kept.blockSize);
      const values = this.#take((matrix.rows * blocks * kept.blockSize * kept.bits) / 8);
      const scales = this.#take(matrix.rows * blocks * Float32Array.BYTES_PER_ELEMENT);
      const zeros = kept.hasZeros ? this.#take(matrix.rows * Math.ceil(blocks / 2)) : undefined;
      return { kind: 'integers', matrix, kept, values, scales, zeros } as const;
    });
  }

  /** The order of a tensor's columns. */
  order(tensor: string, columns: number): ExternalRange {
    return this.#once({ tensor }, () => {
      const values = this.#take(columns * BigInt64Array.BYTES_PER_ELEMENT);
      return { kind: 'order', tensor, values } as const;
    }).values;
  }

  #once<Weight extends PlannedWeight>(what: object, create: () => Weight): Weight {
    const key = JSON.stringify(what);
    const known = this.#known.get(key);
    // The same matrix in the same form was planned by the same method.
    if (known) return known as Weight;
    const weight = create();
    this.#known.set(key, weight);
    this.weights.push(weight);
    return weight;
  }

  #take(length: number): ExternalRange {
    const offset = align(this.#end);
    this.#end = offset + length;
    return { location: weightsFile, offset, length };
  }
}
