/** Eight- and four-bit floats, by what their formats say of single bytes, of scales, and of where scales lie. */
import { describe, expect, it } from 'vitest';
import { cutOf, readStored } from '../../../test/fixtures/stored-matrix.ts';
import type { TensorBytes } from '../../../test/goldens/write-checkpoint.ts';

const block = { quant_method: 'fp8', fmt: 'e4m3', activation_scheme: 'dynamic', weight_block_size: [128, 128] };
const compressed = (weights: object) => ({
  quant_method: 'compressed-tensors',
  format: 'float-quantized',
  config_groups: { group_0: { weights: { num_bits: 8, type: 'float', ...weights } } },
});

function fp8(shape: readonly number[], byteOf: (i: number) => number, name = 'a.weight'): TensorBytes {
  const count = shape.reduce((product, size) => product * size, 1);
  return { name, dtype: 'F8_E4M3', shape, bytes: Uint8Array.from({ length: count }, (_, i) => byteOf(i)) };
}

function scale(name: string, shape: readonly number[], values: readonly number[]): TensorBytes {
  return { name, dtype: 'F32', shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

const one = 0x38;

describe('FP8', () => {
  it('has the values of float8 e4m3fn', async () => {
    const expected: readonly (readonly [number, number])[] = [
      [0x00, 0],
      [0x01, 2 ** -9],
      [0x07, 7 * 2 ** -9],
      [0x08, 2 ** -6],
      [0x37, 0.9375],
      [0x38, 1],
      [0x39, 1.125],
      [0x48, 4],
      [0x77, 240],
      [0x78, 256],
      [0x7e, 448],
      [0xb8, -1],
      [0xfe, -448],
    ];
    const tensors = [fp8([expected.length, 1], (i) => expected[i]![0]), scale('a.weight_scale_inv', [1, 1], [1])];
    const read = await readStored(tensors, block, 'a.weight');
    expect([...read!.values]).toEqual(expected.map(([, value]) => value));
    for (const byte of [0x7f, 0xff]) {
      const odd = [fp8([1, 1], () => byte), tensors[1]!];
      expect((await readStored(odd, block, 'a.weight'))!.values[0]).toBeNaN();
    }
  });

  it('has every value once with its sign', async () => {
    const read = await readStored(
      [fp8([256, 1], (i) => i), scale('a.weight_scale', [256, 1], new Array(256).fill(1))],
      compressed({ strategy: 'channel' }),
      'a.weight',
    );
    const positive = [...read!.values.subarray(0, 127)];
    expect(positive).toEqual(positive.toSorted((a, b) => a - b));
    expect(new Set(positive).size).toBe(127);
    expect([...read!.values.subarray(129, 255)]).toEqual(positive.slice(1).map((value) => -value));
  });

  it('multiplies by the scale of the block, whose last row and column may be part of one', async () => {
    const [out, columns] = [200, 300];
    const scales = [1, 2, 3, 4, 5, 6];
    const tensors = [fp8([out, columns], () => one), scale('a.weight_scale_inv', [2, 3], scales)];
    const whole = await readStored(tensors, block, 'a.weight');
    expect(whole).toMatchObject({ format: 'FP8 128x128', shape: [out, columns] });
    const expected = Float32Array.from({ length: out * columns }, (_, i) => {
      return scales[3 * Math.floor(Math.floor(i / columns) / 128) + Math.floor((i % columns) / 128)]!;
    });
    expect(whole!.values).toEqual(expected);
    const part = { rows: { first: 127, count: 3 }, columns: { first: 120, count: 150 } };
    const some = await readStored(tensors, block, 'a.weight', part);
    expect(some!.values).toEqual(cutOf(expected, columns, part.rows, part.columns));
  });

  it('takes scales of every type', async () => {
    const types: readonly (readonly [string, Uint8Array])[] = [
      ['BF16', new Uint8Array(Uint16Array.of(0x4000).buffer)],
      ['F16', new Uint8Array(Float16Array.of(2).buffer)],
      ['F8_E8M0', Uint8Array.of(128)],
    ];
    for (const [dtype, bytes] of types) {
      const tensors = [fp8([4, 4], () => one), { name: 'a.weight_scale_inv', dtype, shape: [1, 1], bytes }];
      expect((await readStored(tensors, block, 'a.weight'))!.values).toEqual(new Float32Array(16).fill(2));
    }
  });

  it.each([
    ['per row', compressed({ strategy: 'channel' }), [4, 1], [1, 2, 3, 4]],
    ['per row', compressed({ strategy: 'channel' }), [4], [1, 2, 3, 4]],
    ['per tensor', compressed({ strategy: 'tensor' }), [1], [3]],
    ['per tensor', { quant_method: 'fp8', activation_scheme: 'static' }, [], [3]],
    ['2x2', compressed({ strategy: 'block', block_structure: [2, 2] }), [2, 1], [1, 5]],
  ] as const)('has scales %s: %j', async (format, config, shape, values) => {
    const tensors = [fp8([4, 2], () => one), scale('a.weight_scale', shape, values)];
    const read = await readStored(tensors, config, 'a.weight');
    expect(read!.format).toBe(`FP8 ${format}`);
    const perRow = 4 / values.length;
    expect([...read!.values]).toEqual(Array.from({ length: 8 }, (_, i) => values[Math.floor((i >> 1) / perRow)]));
  });

  it.each([
    ['no scale', [], block, /neither a.weight_scale_inv nor a.weight_scale is there/],
    [
      'a scale of another shape',
      [scale('a.weight_scale_inv', [2, 2], [1, 1, 1, 1])],
      block,
      /has shape \[2, 2\], expected \[2, 3\]/,
    ],
    [
      'a scale that is no number',
      [scale('a.weight_scale_inv', [2, 3], [1, 1, 1, 1, 1, Number.NaN])],
      block,
      /holds NaN, which is no scale/,
    ],
    [
      'an infinite scale',
      [scale('a.weight_scale_inv', [2, 3], [1, 1, 1, 1, 1, Number.POSITIVE_INFINITY])],
      block,
      /holds Infinity/,
    ],
    [
      'scales of integers',
      [{ ...scale('a.weight_scale_inv', [2, 3], [1, 1, 1, 1, 1, 1]), dtype: 'I32' }],
      block,
      /no type of scales/,
    ],
    [
      'no word of it in config.json',
      [scale('a.weight_scale_inv', [2, 3], [1, 1, 1, 1, 1, 1])],
      { quant_method: 'mxfp4' },
      /does not say/,
    ],
  ] as const)('is refused with %s', async (_, scales, config, message) => {
    await expect(readStored([fp8([200, 300], () => one), ...scales], config, 'a.weight')).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(message),
    });
  });

  it('is refused when it is no matrix', async () => {
    const tensors = [fp8([2, 4, 4], () => one), scale('a.weight_scale_inv', [1, 1], [1])];
    await expect(readStored(tensors, block, 'a.weight')).rejects.toMatchObject({ code: 'INVALID_CHECKPOINT' });
  });
});

describe('MXFP4', () => {
  const config = { quant_method: 'mxfp4' };
  const bytes = (name: string, shape: readonly number[], byteOf: (i: number) => number): TensorBytes => ({
    ...fp8(shape, byteOf, name),
    dtype: 'U8',
  });

  it('has two values a byte, the first in the low half, times a power of two for each 32', async () => {
    const codes = bytes('x_blocks', [2, 1, 2, 16], (i) => (i % 8) * 2 + ((i % 8) * 2 + 1) * 16);
    const read = await readStored([codes, bytes('x_scales', [2, 1, 2], (i) => [127, 128, 0, 126][i]!)], config, 'x');
    expect(read).toMatchObject({ format: 'MXFP4', shape: [2, 1, 64] });
    const sizes = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
    const once = [...sizes, ...sizes.map((size) => -size)];
    const expected = [1, 2, 2 ** -127, 0.5].flatMap((factor) =>
      [...once, ...once].map((value) => Math.fround(value * factor)),
    );
    expect([...read!.values]).toEqual(expected);
    const part = { rows: { first: 1, count: 1 }, columns: { first: 3, count: 41 } };
    const some = await readStored([codes, bytes('x_scales', [2, 1, 2], () => 127)], config, 'x', part);
    expect([...some!.values]).toEqual([...once, ...once, ...once, ...once].slice(3, 44));
  });

  it.each([
    ['no scales', [], /x_scales is not there/],
    ['scales of another shape', [bytes('x_scales', [2, 2], () => 127)], /ask for \[2, 2, 16\]/],
    ['a scale of 255', [bytes('x_scales', [2, 1, 2], () => 255)], /holds NaN, which is no scale/],
    [
      'scales of another type',
      [{ ...bytes('x_scales', [2, 1, 2], () => 0), dtype: 'I8' }],
      /stored as I8, MXFP4 as U8/,
    ],
  ] as const)('is refused with %s', async (_, scales, message) => {
    await expect(readStored([bytes('x_blocks', [2, 1, 2, 16], () => 0), ...scales], config, 'x')).rejects.toMatchObject(
      {
        code: 'INVALID_CHECKPOINT',
        message: expect.stringMatching(message),
      },
    );
  });
});
