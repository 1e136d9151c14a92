/** Integers of a rank's matrix, in the blocks of MatMulNBits: [rows, blocks, bytes], the first of two 4-bit codes in the low half. */
import { assert } from '#platform/assert.ts';
import type { KeptBlocks } from './kept-integers.ts';
import type { Matrix, Rectangle } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import { groupCount, middleCode, type StoredIntegers } from './stored/integers.ts';
import { damaged } from './stored/scales.ts';

/** Codes that are unpacked at a time, and always at least one row. */
const chunkCodes = 8 << 20;
const twoMiddles = middleCode | (middleCode << 4);
const middleByte = 128;

/** Some rows in blocks; valid until the next are read. */
export interface BlockRows {
  readonly packed: Uint8Array;
  /** [rows, blocks] */
  readonly scales: Float32Array;
  /** [rows, ceil(blocks/2)], the first of two in the low half. */
  readonly zeros: Uint8Array;
}

export class IntegerReader {
  readonly #tensors: ModelTensors;
  #codes = new Uint8Array(0);

  constructor(tensors: ModelTensors) {
    this.#tensors = tensors;
  }

  /** Calls `take` with the matrix's rows in order, some at a time. Errors: those of StoredIntegers. */
  async read(matrix: Matrix, kept: KeptBlocks, take: (rows: BlockRows) => Promise<void>): Promise<void> {
    let rows = 0;
    for (const part of matrix.parts) {
      await this.#readPart(part, kept, take);
      rows += part.rows.count;
    }
    if (rows < matrix.rows) await take(emptyRows(matrix.rows - rows, matrix.columns, kept));
  }

  /** Of a reordered matrix: which column each is. Errors: INVALID_CHECKPOINT for groups of uneven sizes. */
  async order(tensor: string): Promise<Int32Array> {
    const integers = this.#integers(tensor);
    return sortedColumns(tensor, await integers.readOrder(), integers.groupSize);
  }

  async #readPart(part: Rectangle, kept: KeptBlocks, take: (rows: BlockRows) => Promise<void>): Promise<void> {
    const { columns } = part;
    const integers = this.#integers(part.tensor);
    const order = kept.reordered ? await this.order(part.tensor) : undefined;
    const perChunk = Math.max(1, Math.floor(chunkCodes / columns.count));
    for (let done = 0; done < part.rows.count; done += perChunk) {
      const rows = { first: part.rows.first + done, count: Math.min(perChunk, part.rows.count - done) };
      const codes = this.#codesFor(rows.count * columns.count);
      await integers.readCodes(rows, columns, codes);
      const groups = await integers.readGroups(rows);
      const blockGroups = groupsOfBlocks(integers, part, kept);
      const scaleOf = (row: number, block: number): number => row * groupCount(integers) + blockGroups[block]!;
      await take({
        packed: packCodes(codes, columns.count, kept, order),
        ...spreadGroups(rows.count, blockGroups.length, groups, scaleOf),
      });
    }
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
  order?: Int32Array,
): Uint8Array {
  const perByte = 8 / bits;
  const rowBytes = (Math.ceil(columns / blockSize) * blockSize) / perByte;
  const rows = codes.length / columns;
  const packed = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      const code = codes[row * columns + (order ? order[i]! : i)]!;
      const at = row * rowBytes + Math.floor(i / perByte);
      packed[at] = packed[at]! | (code << (bits * (i % perByte)));
    }
  }
  return packed;
}

function spreadGroups(
  rows: number,
  blocks: number,
  groups: { readonly scales: Float32Array; readonly zeros: Uint8Array },
  indexOf: (row: number, block: number) => number,
): Pick<BlockRows, 'scales' | 'zeros'> {
  const scales = new Float32Array(rows * blocks);
  const zeroBytes = Math.ceil(blocks / 2);
  const zeros = new Uint8Array(rows * zeroBytes);
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const from = indexOf(row, block);
      scales[row * blocks + block] = groups.scales[from]!;
      const at = row * zeroBytes + (block >> 1);
      zeros[at] = zeros[at]! | (groups.zeros[from]! << (4 * (block & 1)));
    }
  }
  return { scales, zeros };
}

/** Rows of zeros. */
function emptyRows(rows: number, columns: number, { bits, blockSize }: KeptBlocks): BlockRows {
  const blocks = Math.ceil(columns / blockSize);
  return {
    packed: new Uint8Array((rows * blocks * blockSize * bits) / 8).fill(bits === 4 ? twoMiddles : middleByte),
    scales: new Float32Array(rows * blocks),
    zeros: new Uint8Array(rows * Math.ceil(blocks / 2)).fill(twoMiddles),
  };
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
