/**
 * Whether a rank can keep the integers of its part of a matrix, so that nothing is quantised a second time, and in which blocks of
 * MatMulNBits. A group may take several blocks, each with the group's scale: the same numbers in a few more bytes.
 */
import type { Range } from '../models/shard.ts';
import type { Matrix } from './matrix.ts';
import type { Bits } from './quantise.ts';
import type { StoredIntegers } from './stored/integers.ts';
import type { StoredModel } from './stored-model.ts';

/**
 * Of blocks of 64, 128 and 256 the operator multiplies the last of an odd number of rows in another order than the others (ONNX Runtime
 * 1.30, AVX-512): a row would have other bits beside other rows.
 */
const blockSizes: Readonly<Record<Bits, readonly number[]>> = { 4: [32, 16], 8: [32] };

export interface KeptBlocks {
  readonly bits: Bits;
  /** Columns with one scale. */
  readonly blockSize: number;
  readonly hasZeros: boolean;
  /** Columns, and so what they are multiplied with, are put into the order of their groups. */
  readonly reordered: boolean;
}

/** undefined: its columns have no blocks that lie within one group each, or its tensor is not made of integers of so many bits. */
export function keptBlocks(model: StoredModel, { parts }: Matrix, keeps: readonly Bits[]): KeptBlocks | undefined {
  const [first] = parts;
  const integers = first && model.integers(first.tensor);
  if (!integers || parts.some(({ tensor }) => tensor !== first.tensor)) return undefined;
  return keeps.includes(integers.bits) ? keptColumns(integers, first.columns) : undefined;
}

export function keptColumns(integers: StoredIntegers, columns: Range): KeptBlocks | undefined {
  const { bits, groupSize, hasZeros, actOrder, shape } = integers;
  const [, width] = shape;
  // The groups of a part of the columns may be any.
  if (actOrder && columns.count < width) return undefined;
  // Where groups begin within the columns, counted from the first of them.
  const borders: number[] = [];
  for (let at = groupSize - (columns.first % groupSize); at < columns.count; at += groupSize) borders.push(at);
  const fits = (size: number): boolean => borders.every((border) => border % size === 0);
  const blockSize = blockSizes[bits].find(fits);
  return blockSize === undefined ? undefined : { bits, blockSize, hasZeros, reordered: actOrder };
}

/** A cut of the columns at a multiple of this leaves blocks as large as those of the whole; 1: any cut does, or none helps. */
export function cutAlignment({ bits, groupSize, actOrder, shape: [, width] }: StoredIntegers): number {
  if (actOrder) return Number.POSITIVE_INFINITY;
  if (groupSize >= width) return 1;
  return blockSizes[bits].find((size) => groupSize % size === 0) ?? 1;
}
