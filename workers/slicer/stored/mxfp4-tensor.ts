/**
 * MXFP4 as gpt-oss stores experts (OCP Microscaling Formats 1.0): a tensor [.., out, in] as X_blocks, bytes [.., out, in/32, 16] of two
 * values each, the first in the low half, and X_scales, an exponent for every 32.
 */
import type { StoredTensor } from '../safetensors.ts';
import type { ReadableTensor } from './readable-tensor.ts';
import { damaged, fromExponent, refuseOddScales } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

const blockColumns = 32;
const blockBytes = blockColumns / 2;
const sizes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
const values = Float32Array.from([...sizes, ...sizes.map((size) => -size)]);

export function mxfp4Tensor({ checkpoint, buffer }: StoredSource, name: string): ReadableTensor | undefined {
  const blocks = checkpoint.tensor(`${name}_blocks`);
  if (!blocks) return undefined;
  const scales = checkpoint.tensor(`${name}_scales`);
  if (!scales) throw damaged(`tensor ${blocks.name} has no scales: ${name}_scales is not there`);
  requireShapes(blocks, scales);
  const blocksPerRow = scales.shape.at(-1)!;
  return {
    name,
    shape: [...scales.shape.slice(0, -1), blocksPerRow * blockColumns],
    format: 'MXFP4',
    stored: [blocks.name, scales.name],
    rowsAreOutputs: true,
    scaleBlock: { rows: 1, columns: blockColumns },
    rowBytes: blocksPerRow * (blockBytes + 1),
    async read(rows, columns, target) {
      const [first, count] = [rows.first * blocksPerRow, rows.count * blocksPerRow];
      const bytes = new Uint8Array(buffer.take(count * (blockBytes + 1)));
      const codes = bytes.subarray(0, count * blockBytes);
      await checkpoint.read(blocks.name, first * blockBytes, codes);
      const exponents = bytes.subarray(count * blockBytes, count * (blockBytes + 1));
      await checkpoint.read(scales.name, first, exponents);
      const factors = Float32Array.from(exponents, fromExponent);
      refuseOddScales(factors, scales.name);
      for (let row = 0; row < rows.count; row++) {
        for (let i = 0; i < columns.count; i++) {
          const column = columns.first + i;
          const block = row * blocksPerRow + (column >> 5);
          const code = codes[block * blockBytes + ((column & 31) >> 1)]!;
          target[row * columns.count + i] = values[(column & 1) === 0 ? code & 15 : code >> 4]! * factors[block]!;
        }
      }
    },
  };
}

function requireShapes(blocks: StoredTensor, scales: StoredTensor): void {
  for (const { name, dtype } of [blocks, scales]) {
    if (dtype !== 'U8') throw damaged(`tensor ${name} is stored as ${dtype}, MXFP4 as U8`);
  }
  const expected = [...scales.shape, blockBytes];
  if (scales.shape.length >= 2 && blocks.shape.join() === expected.join()) return;
  throw damaged(
    `tensor ${blocks.name} has shape [${blocks.shape.join(', ')}], its scales [${scales.shape.join(', ')}] ask for [${expected.join(', ')}]`,
  );
}
