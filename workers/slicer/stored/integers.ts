/** Matrices of integers of four or eight bits that share scales in groups along a row, whatever packs them: value = (code - zero) * scale. */
import type { Range } from '../../models/shard.ts';
import type { Bits } from '../quantise.ts';
import type { GroupSize } from './quantisation-config.ts';
import { damaged } from './scales.ts';

/** The zero point of a symmetric matrix of 4-bit integers. */
export const middleCode = 8;

export interface Groups {
  /** [rows, groups] */
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
}

export interface StoredIntegers {
  /** [out, in] */
  readonly shape: readonly [rows: number, columns: number];
  /** Of a code. */
  readonly bits: Bits;
  /** Columns with one scale; the last group of a row may have fewer. */
  readonly groupSize: number;
  /** Zero points may differ from the middle. */
  readonly hasZeros: boolean;
  /** Columns belong to groups in any order, which readOrder tells. */
  readonly actOrder: boolean;
  /** Fills `codes` [rows, columns], from 0 on, one a byte. */
  readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void>;
  /** All groups of these rows. Errors: INVALID_CHECKPOINT for a scale that is no number. */
  readGroups(rows: Range): Promise<Groups>;
  /** The group of each column. Errors: INVALID_CHECKPOINT. */
  readOrder(): Promise<Int32Array>;
}

/** How many columns share a scale in this matrix. */
export function groupSizeOf(group: GroupSize, columns: number): number {
  return Math.min(group ?? columns, columns);
}

export function groupCount({ shape: [, columns], groupSize }: StoredIntegers): number {
  return Math.ceil(columns / groupSize);
}

/** Groups in the order of columns. */
export function plainOrder(columns: number, groupSize: number): Int32Array {
  return Int32Array.from({ length: columns }, (_, column) => Math.floor(column / groupSize));
}

/**
 * Checks a stored order of groups, all -1 meaning none (compressed-tensors). Errors: INVALID_CHECKPOINT for a group that is not there,
 * or any order where `actOrder` rules it out.
 */
export function checkedOrder(
  name: string,
  order: Int32Array,
  { groupSize, actOrder }: Pick<StoredIntegers, 'groupSize' | 'actOrder'>,
): Int32Array {
  const plain = plainOrder(order.length, groupSize);
  if (order.every((group) => group === -1)) return plain;
  const groups = Math.ceil(order.length / groupSize);
  const odd = order.find((group) => group < 0 || group >= groups);
  if (odd !== undefined) throw damaged(`tensor ${name} names group ${odd}; there are ${groups}`);
  if (!actOrder && order.some((group, column) => group !== plain[column])) {
    throw damaged(`tensor ${name} puts columns into groups out of order, which config.json rules out (desc_act)`);
  }
  return order;
}
