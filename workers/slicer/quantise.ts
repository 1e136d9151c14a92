/**
 * Symmetric quantisation in blocks of 32 along a row, laid out as MatMulNBits reads it: a matrix [rows, columns] becomes
 * bytes [rows, blocks, 32 * bits / 8] and one float32 scale a block; the zero point is 2^(bits-1), the operator's
 * default. A row that does not fill its last block is padded with zeros. What a rank holds of a row starts a block of its
 * own: a cut inside a block changes which values share a scale, not how many bits they have.
 */
import { assert } from '#platform/assert.ts';

export const blockSize = 32;
export type Bits = 4 | 8;

/** Below this a scale has lost its precision, and the block counts as zeros: the smallest normal float32. */
const smallestScale = 2 ** -126;

export function blocksPerRow(columns: number): number {
  return Math.ceil(columns / blockSize);
}

export function bytesPerBlock(bits: Bits): number {
  return (blockSize * bits) / 8;
}

/** Quantises `rows` rows. `packed` takes rows * blocks * bytesPerBlock bytes, `scales` rows * blocks numbers. */
export function quantise(
  values: Float32Array,
  rows: number,
  columns: number,
  bits: Bits,
  packed: Uint8Array,
  scales: Float32Array,
): void {
  const blocks = blocksPerRow(columns);
  const blockBytes = bytesPerBlock(bits);
  assert(packed.length >= rows * blocks * blockBytes, 'the packed rows have room');
  assert(scales.length >= rows * blocks, 'the scales have room');
  const pack = bits === 4 ? packNibbles : packBytes;
  for (let row = 0; row < rows; row++) {
    for (let block = 0; block < blocks; block++) {
      const start = row * columns + block * blockSize;
      const count = Math.min(blockSize, columns - block * blockSize);
      const index = row * blocks + block;
      scales[index] = pack(values, start, count, packed, index * blockBytes);
    }
  }
}

function largest(values: Float32Array, start: number, count: number): number {
  let most = 0;
  for (let i = start; i < start + count; i++) {
    const size = Math.abs(values[i]!);
    if (size > most) most = size;
  }
  return most;
}

function scaleOf(values: Float32Array, start: number, count: number, steps: number): number {
  const scale = Math.fround(largest(values, start, count) / steps);
  return scale < smallestScale ? 0 : scale;
}

/** Two values a byte, the first in the low half. Returns the scale. */
function packNibbles(values: Float32Array, start: number, count: number, packed: Uint8Array, at: number): number {
  const scale = scaleOf(values, start, count, 7);
  const inverse = scale === 0 ? 0 : 1 / scale;
  const pairs = count >> 1;
  for (let i = 0; i < pairs; i++) {
    const low = (values[start + 2 * i]! * inverse + 8.5) | 0;
    const high = (values[start + 2 * i + 1]! * inverse + 8.5) | 0;
    packed[at + i] = low | (high << 4);
  }
  if (count === blockSize) return scale;
  const last = count % 2 === 0 ? 8 : (values[start + count - 1]! * inverse + 8.5) | 0;
  packed[at + pairs] = last | 0x80;
  packed.fill(0x88, at + pairs + 1, at + blockSize / 2);
  return scale;
}

function packBytes(values: Float32Array, start: number, count: number, packed: Uint8Array, at: number): number {
  const scale = scaleOf(values, start, count, 127);
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = 0; i < count; i++) packed[at + i] = (values[start + i]! * inverse + 128.5) | 0;
  packed.fill(0x80, at + count, at + blockSize);
  return scale;
}
