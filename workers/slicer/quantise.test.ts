import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OnnxGraph } from '../models/onnx-graph.ts';
import { OrtRuntime } from '../runtime/ort-runtime.ts';
import { type Bits, blocksPerRow, bytesPerBlock, quantise } from './quantise.ts';

function quantised(values: Float32Array, rows: number, columns: number, bits: Bits) {
  const blocks = blocksPerRow(columns);
  const packed = new Uint8Array(rows * blocks * bytesPerBlock(bits));
  const scales = new Float32Array(rows * blocks);
  quantise(values, rows, columns, bits, packed, scales);
  return { packed, scales };
}

/** Undoes it by the operator's definition: (code - 2^(bits-1)) * scale, four-bit codes low half first. */
function restored(
  rows: number,
  columns: number,
  bits: Bits,
  { packed, scales }: ReturnType<typeof quantised>,
): Float32Array {
  const blocks = blocksPerRow(columns);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    const block = row * blocks + Math.floor(column / 32);
    const place = column % 32;
    const byte = packed[block * bytesPerBlock(bits) + (bits === 8 ? place : place >> 1)]!;
    const code = bits === 8 ? byte : place % 2 === 0 ? byte & 15 : byte >> 4;
    return (code - 2 ** (bits - 1)) * scales[block]!;
  });
}

const matrix = fc
  .record({ rows: fc.integer({ min: 1, max: 4 }), columns: fc.integer({ min: 1, max: 100 }) })
  .chain(({ rows, columns }) =>
    fc.record({
      rows: fc.constant(rows),
      columns: fc.constant(columns),
      values: fc.float32Array({
        minLength: rows * columns,
        maxLength: rows * columns,
        noNaN: true,
        min: -100,
        max: 100,
      }),
      bits: fc.constantFrom<Bits>(4, 8),
    }),
  );

describe('quantising', () => {
  it('moves no value by more than half a step, and a step is the largest value of the block over 7 or 127', () => {
    fc.assert(
      fc.property(matrix, ({ rows, columns, values, bits }) => {
        const back = restored(rows, columns, bits, quantised(values, rows, columns, bits));
        for (let i = 0; i < values.length; i++) {
          const start = i - ((i % columns) % 32);
          const end = Math.min(start + 32, i - (i % columns) + columns);
          const largest = Math.max(...values.subarray(start, end).map(Math.abs));
          const step = largest / (bits === 4 ? 7 : 127);
          expect(Math.abs(back[i]! - values[i]!)).toBeLessThanOrEqual(step / 2 + largest * 1e-6 + 127 * 2 ** -126);
        }
      }),
    );
  });

  it('represents the largest value of a block exactly, up to rounding of the scale', () => {
    const values = Float32Array.from({ length: 32 }, (_, i) => (i === 5 ? -3.25 : i / 100));
    for (const bits of [4, 8] as const) {
      const back = restored(1, 32, bits, quantised(values, 1, 32, bits));
      expect(back[5]).toBeCloseTo(-3.25, 5);
    }
  });

  it('keeps zeros, and blocks of numbers too small for a scale become zeros', () => {
    const values = new Float32Array(64).fill(1e-44, 32);
    for (const bits of [4, 8] as const) {
      const result = quantised(values, 1, 64, bits);
      expect([...result.scales]).toEqual([0, 0]);
      expect([...restored(1, 64, bits, result)]).toEqual(new Array(64).fill(0));
    }
  });

  it('fills the rest of a block with zero codes', () => {
    const { packed } = quantised(Float32Array.of(1, 1, 1), 1, 3, 4);
    expect([...packed]).toEqual([0xff, 0x8f, ...new Array(14).fill(0x88)]);
    const bytes = quantised(Float32Array.of(1, 1, 1), 1, 3, 8).packed;
    expect([...bytes]).toEqual([255, 255, 255, ...new Array(29).fill(128)]);
  });
});

describe('the operator', () => {
  const shapes = [1, 12, 24, 32, 40, 96, 160].flatMap((columns) =>
    ([4, 8] as const).map((bits) => [columns, bits] as const),
  );

  it.each(shapes)('multiplies %i columns in %i bits as if they were restored first', (columns, bits) => {
    const [rows, count] = [70, 3];
    const weights = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 1.7));
    const input = Float32Array.from({ length: Math.max(64, count * columns) }, (_, i) => Math.cos(i * 0.9));
    const stored = quantised(weights, rows, columns, bits);
    const output = new Float32Array(count * rows);
    const runtime = new OrtRuntime();
    try {
      multiply(runtime, { rows, columns, bits, count }, stored, input.subarray(0, count * columns), output);
    } finally {
      runtime.close();
    }
    const back = restored(rows, columns, bits, stored);
    for (let i = 0; i < output.length; i++) {
      const [m, n] = [Math.floor(i / rows), i % rows];
      let sum = 0;
      let size = 0;
      for (let k = 0; k < columns; k++) {
        const term = input[m * columns + k]! * back[n * columns + k]!;
        sum += term;
        size += Math.abs(term);
      }
      // The operator rounds its input to int8 in blocks, to at most 1/254 of the block's largest value.
      expect(Math.abs(output[i]! - sum)).toBeLessThan(size / 60 + 0.01);
    }
  });
});

function multiply(
  runtime: OrtRuntime,
  shape: { rows: number; columns: number; bits: Bits; count: number },
  stored: ReturnType<typeof quantised>,
  input: Float32Array,
  output: Float32Array,
): void {
  const { rows, columns, bits, count } = shape;
  const graph = new OnnxGraph('product');
  const blocks = blocksPerRow(columns);
  const inputs = [
    graph.input('x', 'f32', ['n', columns]),
    graph.constant('codes', 'u8', [rows, blocks, bytesPerBlock(bits)], stored.packed),
    graph.constant('scales', 'f32', [rows * blocks], new Uint8Array(stored.scales.buffer)),
  ];
  graph.node('MatMulNBits', inputs, { K: columns, N: rows, bits, block_size: 32, accuracy_level: 4 }, 'y');
  graph.output('y', 'f32', ['n', rows]);
  const session = runtime.openSession('product', graph.encode(), '.');
  const io = runtime.io(['x'], ['y']);
  io.input(0, runtime.tensor(input, [count, columns]));
  io.output(0, runtime.tensor(output, [count, rows]));
  session.run(io);
}
