/** Codes, scales and zero points come out of every 4-bit format as they were put in. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cutOf,
  drawMatrix,
  type IntegerMatrix,
  meaningOf,
  packAwq,
  packCompressed,
  packGptq,
  readStored,
} from '../../../test/fixtures/stored-matrix.ts';

const compressed = (group: number, more = {}) => ({
  quant_method: 'compressed-tensors',
  format: 'pack-quantized',
  config_groups: {
    group_0: { weights: { num_bits: 4, type: 'int', strategy: 'group', group_size: group, symmetric: false } },
  },
  ...more,
});
const gptq = (group: number, more = {}) => ({ quant_method: 'gptq', bits: 4, group_size: group, ...more });
const awq = (group: number) => ({ quant_method: 'awq', bits: 4, group_size: group, zero_point: true, version: 'gemm' });

const formats = [
  ['compressed-tensors', packCompressed, compressed],
  ['GPTQ version 1', packGptq, gptq],
  [
    'GPTQ version 2',
    (name: string, matrix: IntegerMatrix) => packGptq(name, matrix, 2),
    (group: number) => gptq(group, { checkpoint_format: 'gptq_v2' }),
  ],
  ['AWQ', packAwq, awq],
] as const;

/** compressed-tensors names its parts after the weight, the others after the module. */
const prefixOf = (format: string): string => (format === 'compressed-tensors' ? 'a.weight' : 'a');

const shapes = fc.record({
  out: fc.integer({ min: 1, max: 5 }).map((count) => count * 8),
  columns: fc.integer({ min: 1, max: 9 }).map((count) => count * 8),
  groupSize: fc.constantFrom(8, 16, 32, 128),
  seed: fc.nat(),
  cut: fc.tuple(fc.nat(), fc.nat(), fc.nat(), fc.nat()),
});

/** Any range within `size`. */
function rangeOf(size: number, a: number, b: number) {
  const first = a % size;
  return { first, count: 1 + (b % (size - first)) };
}

describe.each(formats)('%s', (format, pack, config) => {
  it('has the values that were packed, whole and in any rectangle', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ out, columns, groupSize, seed, cut: [a, b, c, d] }) => {
        const matrix = drawMatrix(out, columns, groupSize, seed);
        const part = { rows: rangeOf(out, a, b), columns: rangeOf(columns, c, d) };
        const tensors = pack(prefixOf(format), matrix);
        const whole = await readStored(tensors, config(groupSize), 'a.weight');
        expect(whole!.shape).toEqual([out, columns]);
        expect(whole!.values).toEqual(meaningOf(matrix));
        expect([...whole!.stored].sort()).toEqual(tensors.map(({ name }) => name).sort());
        const some = await readStored(tensors, config(groupSize), 'a.weight', part);
        expect(some!.values).toEqual(cutOf(whole!.values, columns, part.rows, part.columns));
      }),
      { numRuns: 40 },
    );
  });

  it('takes a group of -1 as the whole row', async () => {
    const matrix = drawMatrix(16, 64, 64, 3);
    const read = await readStored(pack(prefixOf(format), matrix), config(-1), 'a.weight');
    expect(read!.values).toEqual(meaningOf(matrix));
  });

  it('refuses scales that are no numbers, and scales of another shape', async () => {
    const tensors = pack(prefixOf(format), drawMatrix(16, 64, 32, 5));
    const spoilt = tensors.map((tensor) => {
      if (!/scale/.test(tensor.name)) return tensor;
      const bytes = Float16Array.from({ length: tensor.bytes.length / 2 }, (_, i) => (i === 9 ? Number.NaN : 1));
      return { ...tensor, bytes: new Uint8Array(bytes.buffer) };
    });
    const read = (altered: typeof tensors, group = 32) => readStored(altered, config(group), 'a.weight');
    await expect(read(spoilt)).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/tensor a.*scale.* holds NaN, which is no scale/),
    });
    const wrong = { code: 'INVALID_CHECKPOINT', message: expect.stringMatching(/has shape \[.*\], expected \[/) };
    await expect(read(tensors, 16)).rejects.toMatchObject(wrong);
  });

  it('refuses a matrix whose scales, or packed words, are not there or of another type', async () => {
    const tensors = pack(prefixOf(format), drawMatrix(16, 64, 32, 5));
    const read = (altered: typeof tensors) => readStored(altered, config(32), 'a.weight');
    await expect(read(tensors.filter(({ name }) => !/scale/.test(name)))).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/scales?.* is not there/),
    });
    const floats = tensors.map((tensor) => (/packed|qweight/.test(tensor.name) ? { ...tensor, dtype: 'F32' } : tensor));
    await expect(read(floats)).rejects.toMatchObject({ message: expect.stringContaining('is stored as F32') });
  });

  it('refuses a matrix when config.json says nothing of its method', async () => {
    const tensors = pack(prefixOf(format), drawMatrix(16, 64, 32, 5));
    await expect(readStored(tensors, { quant_method: 'fp8' }, 'a.weight')).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringContaining('config.json does not say how it was quantised'),
    });
  });
});

describe('columns in any order', () => {
  const scattered = (seed: number): IntegerMatrix => {
    const matrix = drawMatrix(8, 64, 16, seed);
    const order = Array.from({ length: 64 }, (_, column) => Math.floor(((column * 29 + seed) % 64) / 16));
    return { ...matrix, order };
  };

  it('have the scales of the group that g_idx names: GPTQ, compressed-tensors', async () => {
    const matrix = scattered(7);
    const columns = { first: 13, count: 40 };
    const part = { rows: { first: 2, count: 5 }, columns };
    const expected = cutOf(meaningOf(matrix), 64, part.rows, columns);
    expect(expected).not.toEqual(cutOf(meaningOf(drawMatrix(8, 64, 16, 7)), 64, part.rows, columns));
    const config = gptq(16, { desc_act: true });
    expect((await readStored(packGptq('a', matrix), config, 'a.weight', part))!.values).toEqual(expected);
    const packed = packCompressed('a.weight', matrix);
    expect((await readStored(packed, compressed(16), 'a.weight', part))!.values).toEqual(expected);
  });

  it('are in order where compressed-tensors writes -1 for every column', async () => {
    const matrix = drawMatrix(8, 64, 16, 9);
    const packed = packCompressed('a.weight', { ...matrix, order: new Array(64).fill(-1) });
    expect((await readStored(packed, compressed(16), 'a.weight'))!.values).toEqual(meaningOf(matrix));
  });

  it.each([
    ['an order that config.json rules out', scattered(3), gptq(16), /out of order/],
    [
      'a group that is not there',
      { ...scattered(3), order: new Array(64).fill(4) },
      gptq(16, { desc_act: true }),
      /group 4/,
    ],
  ] as const)('are refused with %s', async (_, matrix, config, message) => {
    await expect(readStored(packGptq('a', matrix), config, 'a.weight')).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(message),
    });
  });

  it('are refused without g_idx', async () => {
    const tensors = packGptq('a', scattered(3)).filter(({ name }) => !name.endsWith('g_idx'));
    await expect(readStored(tensors, gptq(16, { desc_act: true }), 'a.weight')).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/desc_act.*a.g_idx is not there/),
    });
    expect(await readStored(tensors, gptq(16), 'a.weight')).toBeDefined();
  });
});

it('a packed width that is less than its words hold is refused', async () => {
  const tensors = packCompressed('a.weight', drawMatrix(8, 64, 32, 1)).map((tensor) =>
    tensor.name.endsWith('_shape') ? { ...tensor, bytes: new Uint8Array(BigInt64Array.of(8n, 60n).buffer) } : tensor,
  );
  await expect(readStored(tensors, compressed(32), 'a.weight')).rejects.toMatchObject({
    code: 'INVALID_CHECKPOINT',
    message: expect.stringContaining('says [8, 60]'),
  });
});
