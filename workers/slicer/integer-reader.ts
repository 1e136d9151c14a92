/** Integers of a rank's matrix, in the blocks of MatMulNBits: [rows, blocks, bytes], the first of two 4-bit codes in the low half. */
import { assert } from '#platform/assert.ts';
import type { Range } from '../models/shard.ts';
import type { KeptBlocks } from './kept-integers.ts';
import type { Matrix, Rectangle } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import { groupCount, middleCode, type StoredIntegers } from './stored/integers.ts';
import { damaged } from './stored/scales.ts';

const twoMiddles = middleCode | (middleCode << 4);
const middleByte = 128;

/** Rows in blocks. */
export interface BlockRows {
  readonly packed: Uint8Array;
  /** [rows, blocks] */
  readonly scales: Float32Array;
  /** [rows, ceil(blocks/2)], the first of two in the low half; empty where all are in the middle. */
  readonly zeros: Uint8Array;
}

export class IntegerReader {
  readonly #tensors: ModelTensors;
  #codes = new Uint8Array(0);

  constructor(tensors: ModelTensors) {
    this.#tensors = tensors;
  }

  /** Fills `target` with all rows of the matrix. Errors: those of StoredIntegers. */
  async read(matrix: Matrix, kept: KeptBlocks, target: BlockRows): Promise<void> {
    let rows = 0;
    for (const part of matrix.parts) {
      await this.#readPart(part, kept, blockRowsOf(target, matrix.rows, { first: rows, count: part.rows.count }));
      rows += part.rows.count;
    }
    fillEmpty(kept, blockRowsOf(target, matrix.rows, { first: rows, count: matrix.rows - rows }));
  }

  /** Of a reordered matrix: which column each is. Errors: INVALID_CHECKPOINT for groups of uneven sizes. */
  async order(tensor: string): Promise<Int32Array> {
    const integers = this.#integers(tensor);
    return sortedColumns(tensor, await integers.readOrder(), integers.groupSize);
  }

  async #readPart(part: Rectangle, kept: KeptBlocks, target: BlockRows): Promise<void> {
    const { columns, rows } = part;
    const integers = this.#integers(part.tensor);
    const order = kept.reordered ? await this.order(part.tensor) : undefined;
    const codes = this.#codesFor(rows.count * columns.count);
    await integers.readCodes(rows, columns, codes);
    packCodes(codes, columns.count, kept, order, target.packed);
    const groups = await integers.readGroups(rows);
    const blockGroups = groupsOfBlocks(integers, part, kept);
    const scaleOf = (row: number, block: number): number => row * groupCount(integers) + blockGroups[block]!;
    spreadGroups(rows.count, blockGroups.length, groups, scaleOf, target);
  }

  #integers(tensor: string): StoredIntegers {
    const integers = this.#tensors.integers(tensor);
    assert(integers, `tensor ${tensor} is made of integers`);
    return integers;
  }

  #codesFor(count: number): Uint8Array {
    if (this.#codes.length < count) this.#codes = new Uint8Array(count);
    return this.#codes.subarray(0, count);
  }
}

/** Some of `count` rows. */
function blockRowsOf({ packed, scales, zeros }: BlockRows, count: number, rows: Range): BlockRows {
  const part = <T extends Uint8Array | Float32Array>(all: T): T => {
    const width = all.length / count;
    return all.subarray(rows.first * width, (rows.first + rows.count) * width) as T;
  };
  return { packed: part(packed), scales: part(scales), zeros: part(zeros) };
}

/** Of columns that are in the order of their groups. */
function groupsOfBlocks({ groupSize }: StoredIntegers, { columns }: Rectangle, { blockSize }: KeptBlocks): number[] {
  return Array.from({ length: Math.ceil(columns.count / blockSize) }, (_, block) =>
    Math.floor((columns.first + block * blockSize) / groupSize),
  );
}

/** codes [rows, columns], one a byte -> [rows, blocks, bytes]; in the given order of columns. What fills the last block is 0. */
function packCodes(
  codes: Uint8Array,
  columns: number,
  { bits, blockSize }: KeptBlocks,
  order: Int32Array | undefined,
  packed: Uint8Array,
): void {
  const perByte = 8 / bits;
  const rowBytes = (Math.ceil(columns / blockSize) * blockSize) / perByte;
  const rows = codes.length / columns;
  packed.fill(0);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      const code = codes[row * columns + (order ? order[i]! : i)]!;
      const at = row * rowBytes + Math.floor(i / perByte);
      packed[at] = packed[at]! | (code << (bits * (i % perByte)));
    }
  }
}

function spreadGroups(
  rows: number,
  blocks: number,
  groups: { readonly scales: Float32Array; readonly zeros: Uint8Array },
  indexOf: (row: number, block: number) => number,
  { scales, zeros }: BlockRows,
): void {
  const zeroBytes = Math.ceil(blocks / 2);
  zeros.fill(0);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const from = indexOf(row, block);
      scales[row * blocks + block] = groups.scales[from]!;
      if (zeros.length === 0) continue;
      const at = row * zeroBytes + (block >> 1);
      zeros[at] = zeros[at]! | (groups.zeros[from]! << (4 * (block & 1)));
    }
  }
}

/** Rows of zeros. */
function fillEmpty({ bits }: KeptBlocks, { packed, scales, zeros }: BlockRows): void {
  packed.fill(bits === 4 ? twoMiddles : middleByte);
  scales.fill(0);
  zeros.fill(twoMiddles);
}

/** Columns by group, those of a group in their own order. */
function sortedColumns(tensor: string, groupOf: Int32Array, groupSize: number): Int32Array {
  const filled = new Int32Array(Math.ceil(groupOf.length / groupSize));
  const sorted = new Int32Array(groupOf.length).fill(-1);
  for (const [column, group] of groupOf.entries()) {
    const place = group * groupSize + filled[group]!;
    filled[group]!++;
    if (filled[group]! <= groupSize && place < sorted.length) sorted[place] = column;
  }
  if (!sorted.includes(-1)) return sorted;
  const message = `the groups of ${tensor} have not ${groupSize} columns each, so its integers cannot be kept`;
  throw damaged(`${message}; --weights fp32 or int8 would do without them`);
}
