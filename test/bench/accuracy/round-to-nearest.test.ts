import { describe, expect, it } from 'vitest';
import { meaningOf } from '../../fixtures/stored-matrix.ts';
import { roundToFp8, roundToInt4, roundToQ40, roundToQ80 } from './round-to-nearest.ts';

const [out, columns] = [3, 64];
/** Of changing size along a row, none like its neighbours. */
const values = Float32Array.from({ length: out * columns }, (_, i) => Math.sin(i * 1.7) * (1 + (i % columns) / 16));
const matrix = { out, columns, values };

function largestError(rounded: ArrayLike<number>): number {
  return values.reduce((most, value, i) => Math.max(most, Math.abs(value - rounded[i]!)), 0);
}

describe('rounding to four bits', () => {
  it.each([
    [false, 8],
    [true, 8],
    [true, 64],
  ] as const)('zero points: %s, groups of %i: no value is further off than half a step', (hasZeros, groupSize) => {
    const rounded = roundToInt4(matrix, { groupSize, hasZeros });
    const meaning = meaningOf(rounded);
    const steps = values.map((value, i) => Math.abs(value - meaning[i]!) / rounded.scales[Math.floor(i / groupSize)]!);
    // Of a float16 scale that was rounded down, the last step is a little too short.
    expect(Math.max(...steps)).toBeLessThan(0.52);
    expect(Math.max(...rounded.codes)).toBeGreaterThan(13);
    expect(rounded.zeros.every((zero) => zero === 8)).toBe(!hasZeros);
  });

  it('takes a group of zeros for zeros', () => {
    const zeros = { out: 1, columns: 8, values: new Float32Array(8) };
    expect(meaningOf(roundToInt4(zeros, { groupSize: 8, hasZeros: true }))).toEqual(new Float32Array(8));
  });
});

describe('rounding to FP8', () => {
  it('gives the nearest number of the format, ties aside', () => {
    const numbers = Float32Array.of(448, -448, 1, 1.125, 0.0625, 0.001953125, 1.1, -0.3, 1.99, 0);
    const { bytes, scales } = roundToFp8({ out: 1, columns: 10, values: numbers }, 16);
    expect(scales).toEqual(Float32Array.of(1));
    // 1.1 lies nearer to 1.125 than to 1; -0.3 nearer to -0.3125 than to -0.28125; 1.99 nearer to 2 than to 1.875.
    expect([...bytes]).toEqual([0x7e, 0xfe, 0x38, 0x39, 0x18, 0x01, 0x39, 0xaa, 0x40, 0]);
  });

  it('scales every block by its own largest value', () => {
    const { scales, scaleShape } = roundToFp8(matrix, 16);
    expect(scaleShape).toEqual([1, 4]);
    const largest = values.reduce((most, value, i) => (i % columns < 16 ? Math.max(most, Math.abs(value)) : most), 0);
    expect(scales[0]).toBeCloseTo(largest / 448, 6);
  });
});

describe('rounding to blocks of ggml', () => {
  it('Q4_0: the value of the largest size is exact but for the scale, others are within a step', () => {
    const view = new DataView(roundToQ40(values).buffer);
    const rounded = values.map((_, i) => {
      const [block, place] = [Math.floor(i / 32), i % 32];
      const byte = view.getUint8(block * 18 + 2 + (place % 16));
      return ((place < 16 ? byte & 15 : byte >> 4) - 8) * view.getFloat16(block * 18, true);
    });
    expect(largestError(rounded)).toBeLessThan(5 / 8);
    const sizes = values.subarray(0, 32).map(Math.abs);
    const largest = sizes.indexOf(Math.max(...sizes));
    expect(rounded[largest]! / values[largest]!).toBeCloseTo(1, 3);
  });

  it('Q8_0: no value is further off than half a step', () => {
    const view = new DataView(roundToQ80(values).buffer);
    const rounded = values.map((_, i) => {
      const at = Math.floor(i / 32) * 34;
      return view.getInt8(at + 2 + (i % 32)) * view.getFloat16(at, true);
    });
    expect(largestError(rounded)).toBeLessThan((0.52 * 5) / 127 + 5e-3);
  });
});
