/**
 * FP8 as DeepSeek (`weight_scale_inv`) and compressed-tensors (`weight_scale`) store it: bytes of float8 e4m3 without infinities, and
 * scales to multiply them with, whatever the name says.
 */
import type { Range } from '../../models/shard.ts';
import type { StoredTensor } from '../safetensors.ts';
import type { Fp8Scaling } from './quantisation-config.ts';
import type { ReadableTensor, ScaleBlock } from './readable-tensor.ts';
import { damaged, readScales, requireScale } from './scales.ts';
import type { StoredSource } from './stored-source.ts';

const fp8Type = 'F8_E4M3';

/** Four bits of exponent with bias 7, three of mantissa; all ones are no number. */
const values = Float32Array.from({ length: 256 }, (_, byte) => {
  const [sign, exponent, mantissa] = [byte >> 7, (byte >> 3) & 15, byte & 7];
  if (exponent === 15 && mantissa === 7) return Number.NaN;
  const size = exponent === 0 ? (mantissa / 8) * 2 ** -6 : (1 + mantissa / 8) * 2 ** (exponent - 7);
  return sign === 1 ? -size : size;
});

/** How many rows and columns share a scale. */
interface Grid {
  readonly rows: number;
  readonly columns: number;
  readonly format: string;
  /** Where that is not all of a row. */
  readonly scaleBlock?: ScaleBlock;
}

interface StoredRow {
  readonly bytes: Uint8Array;
  readonly scales: Float32Array;
}

export function fp8Tensor(source: StoredSource, name: string): ReadableTensor | undefined {
  const { checkpoint, buffer } = source;
  const stored = checkpoint.tensor(name);
  if (stored?.dtype !== fp8Type) return undefined;
  const scale = scaleOf(source, stored);
  const grid = gridOf(stored, scale, source.quantisation.fp8);
  const width = stored.shape[1]!;
  const scalesPerRow = Math.ceil(width / grid.columns);
  return {
    name,
    shape: stored.shape,
    format: `FP8 ${grid.format}`,
    stored: [name, scale.name],
    rowsAreOutputs: true,
    ...(grid.scaleBlock ? { scaleBlock: grid.scaleBlock } : {}),
    rowBytes: width,
    async read(rows, columns, target) {
      const bytes = new Uint8Array(buffer.take(rows.count * width), 0, rows.count * width);
      await checkpoint.read(name, rows.first * width, bytes);
      const firstScale = Math.floor(rows.first / grid.rows);
      const lastScale = Math.floor((rows.first + rows.count - 1) / grid.rows);
      const count = (lastScale + 1 - firstScale) * scalesPerRow;
      const scales = await readScales(checkpoint, scale, firstScale * scalesPerRow, count);
      for (let row = 0; row < rows.count; row++) {
        const scaleRow = (Math.floor((rows.first + row) / grid.rows) - firstScale) * scalesPerRow;
        const stored = {
          bytes: bytes.subarray(row * width, (row + 1) * width),
          scales: scales.subarray(scaleRow, scaleRow + scalesPerRow),
        };
        multiply(stored, columns, grid.columns, target.subarray(row * columns.count, (row + 1) * columns.count));
      }
    },
  };
}

/** Fills `target` with these columns of a row, of which `perScale` share a scale. Within the async function it takes twice as long. */
function multiply({ bytes, scales }: StoredRow, columns: Range, perScale: number, target: Float32Array): void {
  const end = columns.first + columns.count;
  for (let column = columns.first, at = 0; column < end; ) {
    const block = Math.floor(column / perScale);
    const factor = scales[block]!;
    for (const blockEnd = Math.min((block + 1) * perScale, end); column < blockEnd; column++, at++) {
      target[at] = values[bytes[column]!]! * factor;
    }
  }
}

function scaleOf({ checkpoint }: StoredSource, { name }: StoredTensor): StoredTensor {
  const names = [`${name}_scale_inv`, `${name}_scale`];
  const [scale] = names.flatMap((found) => checkpoint.tensor(found) ?? []);
  if (scale) return scale;
  throw damaged(`tensor ${name} is stored as ${fp8Type} without a scale: neither ${names.join(' nor ')} is there`);
}

function gridOf(weight: StoredTensor, scale: StoredTensor, scalings: readonly Fp8Scaling[]): Grid {
  const [out = 0, width = 0] = weight.shape;
  if (weight.shape.length !== 2) throw damaged(`tensor ${weight.name} is stored as ${fp8Type}, but is no matrix`);
  if (scalings.length === 0) {
    throw damaged(`tensor ${weight.name} is stored as ${fp8Type}, but config.json does not say how it was quantised`);
  }
  const choices = scalings.map((scaling) => layoutOf(scaling, out, width));
  requireScale(
    scale,
    choices.flatMap(({ shapes }) => shapes),
  );
  const isOf = (shape: readonly number[]): boolean => shape.join() === scale.shape.join();
  return choices.find(({ shapes }) => shapes.some(isOf))!.grid;
}

function layoutOf(scaling: Fp8Scaling, out: number, width: number): { grid: Grid; shapes: readonly number[][] } {
  switch (scaling.kind) {
    case 'tensor':
      return { grid: { rows: out, columns: width, format: 'per tensor' }, shapes: [[], [1], [1, 1]] };
    case 'row':
      return { grid: { rows: 1, columns: width, format: 'per row' }, shapes: [[out, 1], [out]] };
    case 'block': {
      const { rows, columns } = scaling;
      const shape = [Math.ceil(out / rows), Math.ceil(width / columns)];
      const format = `${rows}x${columns}`;
      return { grid: { rows, columns, format, scaleBlock: { rows, columns } }, shapes: [shape] };
    }
  }
}
