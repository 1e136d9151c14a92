/** Rounds matrices of floats to the numbers that quantised formats have, value by value: what the simplest quantiser would write. */
import { assert } from '#platform/assert.ts';
import type { IntegerMatrix } from '../../fixtures/stored-matrix.ts';

export interface FloatMatrix {
  readonly out: number;
  readonly columns: number;
  /** [out, columns] */
  readonly values: Float32Array;
}

export interface Grouping {
  /** Columns with one scale; divides the columns. */
  readonly groupSize: number;
  /** Codes are counted from the group's own zero point instead of from 8. */
  readonly hasZeros: boolean;
}

const mostCode = 15;
const middleCode = 8;

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value));
}

/** A group's scale, exact in float16, and zero point. */
function scaleOf(group: Float32Array, { hasZeros }: Grouping): { readonly scale: number; readonly zero: number } {
  const least = group.reduce((a, b) => Math.min(a, b), 0);
  const most = group.reduce((a, b) => Math.max(a, b), 0);
  const span = hasZeros ? most - least : 2 * Math.max(most, -least);
  const scale = Math.f16round(span / mostCode) || 1;
  return { scale, zero: hasZeros ? clamp(Math.round(-least / scale), 0, mostCode) : middleCode };
}

export function roundToInt4({ out, columns, values }: FloatMatrix, grouping: Grouping): IntegerMatrix {
  const { groupSize } = grouping;
  assert(columns % groupSize === 0, `rows of ${columns} are whole groups of ${groupSize}`);
  const groups = Array.from({ length: values.length / groupSize }, (_, i) =>
    scaleOf(values.subarray(i * groupSize, (i + 1) * groupSize), grouping),
  );
  const codes = Array.from(values, (value, i) => {
    const { scale, zero } = groups[Math.floor(i / groupSize)]!;
    return clamp(Math.round(value / scale) + zero, 0, mostCode);
  });
  const [scales, zeros] = [groups.map(({ scale }) => scale), groups.map(({ zero }) => zero)];
  return { out, columns, groupSize, codes, scales, zeros };
}

const largestE4m3 = 448;

/** The byte of float8 e4m3: exponents from -6 on, eight steps up to twice as much; below 2^-6 the steps stay as they are. */
function toE4m3(value: number): number {
  const size = Math.abs(value);
  const exponent = Math.max(-6, Math.floor(Math.log2(size)));
  const byte = (exponent + 6) * 8 + Math.round(size / 2 ** (exponent - 3));
  return byte + (value < 0 ? 128 : 0);
}

export interface Fp8Matrix {
  /** [out, columns] */
  readonly bytes: Uint8Array;
  /** What to multiply the numbers of a block with, [block rows, block columns]. */
  readonly scales: Float32Array;
  readonly scaleShape: readonly [number, number];
}

/** FP8 with one scale for a block of `side` rows and columns. */
export function roundToFp8({ out, columns, values }: FloatMatrix, side: number): Fp8Matrix {
  const scaleShape = [Math.ceil(out / side), Math.ceil(columns / side)] as const;
  const blockOf = (i: number): number =>
    Math.floor(i / columns / side) * scaleShape[1] + Math.floor((i % columns) / side);
  const scales = new Float32Array(scaleShape[0] * scaleShape[1]);
  for (const [i, value] of values.entries()) {
    scales[blockOf(i)] = Math.max(scales[blockOf(i)]!, Math.abs(value) / largestE4m3);
  }
  // A scale that was rounded down would put the largest value beyond the largest number.
  const bytes = Uint8Array.from(values, (value, i) =>
    toE4m3(clamp(value / (scales[blockOf(i)] || 1), -largestE4m3, largestE4m3)),
  );
  return { bytes, scales, scaleShape };
}

const ggmlBlock = 32;

/** Blocks of Q4_0 as ggml makes them: the value of the largest size becomes -8 times the scale. */
export function roundToQ40(values: Float32Array): Uint8Array {
  return inBlocks(values, 18, (block, view) => {
    const largest = block.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    const scale = largest / -8;
    view.setFloat16(0, scale, true);
    const codeAt = (i: number): number => clamp(Math.floor((scale === 0 ? 0 : block[i]! / scale) + 8.5), 0, mostCode);
    for (let i = 0; i < ggmlBlock / 2; i++) view.setUint8(2 + i, codeAt(i) | (codeAt(i + ggmlBlock / 2) << 4));
  });
}

export function roundToQ80(values: Float32Array): Uint8Array {
  return inBlocks(values, 34, (block, view) => {
    const scale = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    view.setFloat16(0, scale, true);
    for (const [i, value] of block.entries()) view.setInt8(2 + i, scale === 0 ? 0 : Math.round(value / scale));
  });
}

function inBlocks(
  values: Float32Array,
  blockBytes: number,
  write: (block: Float32Array, view: DataView) => void,
): Uint8Array {
  const bytes = new Uint8Array((values.length / ggmlBlock) * blockBytes);
  for (let i = 0; i < values.length / ggmlBlock; i++) {
    const block = values.subarray(i * ggmlBlock, (i + 1) * ggmlBlock);
    write(block, new DataView(bytes.buffer, i * blockBytes, blockBytes));
  }
  return bytes;
}
