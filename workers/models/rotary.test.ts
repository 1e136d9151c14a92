import { describe, expect, it } from 'vitest';
import { RotaryTable } from './rotary.ts';
import type { RotaryScaling } from './spec.ts';

function angles(position: number, scaling: RotaryScaling, theta = 10_000, dims = 8): number[] {
  const cos = new Float32Array(2 + dims / 2);
  const sin = new Float32Array(2 + dims / 2);
  new RotaryTable({ theta, dims, pairs: 'halves', scaling }).fill(position, cos, sin, 2);
  expect([...cos.subarray(0, 2), ...sin.subarray(0, 2)], 'what lies before the offset is untouched').toEqual([
    0, 0, 0, 0,
  ]);
  return Array.from({ length: dims / 2 }, (_, i) => Math.atan2(sin[2 + i]!, cos[2 + i]!));
}

describe('the rotary table', () => {
  it('turns pair i by position * theta^(-2i/dims)', () => {
    for (const [i, angle] of angles(3, { kind: 'none' }).entries()) expect(angle).toBeCloseTo(3 * 10 ** -i, 6);
  });

  it('turns nothing at position 0', () => {
    expect(angles(0, { kind: 'none' })).toEqual([0, 0, 0, 0]);
  });

  it('divides positions by a linear factor', () => {
    const scaled = angles(6, { kind: 'linear', factor: 2 });
    for (const [i, angle] of angles(3, { kind: 'none' }).entries()) expect(scaled[i]).toBeCloseTo(angle, 6);
  });

  it('divides each frequency by a factor of its own', () => {
    const scaled = angles(6, { kind: 'factors', factors: [1, 2, 8, 5] });
    const plain = angles(6, { kind: 'none' });
    for (const [i, factor] of [1, 2, 8, 5].entries()) {
      expect(Math.cos(scaled[i]!)).toBeCloseTo(Math.cos((6 * 10 ** -i) / factor), 6);
    }
    expect(scaled[0]).toBe(plain[0]);
  });

  it('keeps short waves, stretches long ones and blends between, as Llama 3 does', () => {
    // Waves that fit 8 times into the original context are short, those that fit once or less are long.
    const scaling = {
      kind: 'llama3',
      factor: 4,
      lowFrequencyFactor: 1,
      highFrequencyFactor: 8,
      originalContext: 100,
    } as const;
    const plain = angles(1, { kind: 'none' });
    const scaled = angles(1, scaling);
    const waves = plain.map((frequency) => (100 * frequency) / (2 * Math.PI));
    expect(waves.map((count) => (count > 8 ? 'short' : count < 1 ? 'long' : 'between'))).toEqual([
      'short',
      'between',
      'long',
      'long',
    ]);
    const kept = (waves[1]! - 1) / 7;
    expect(scaled[0]).toBeCloseTo(plain[0]!, 7);
    expect(scaled[1]).toBeCloseTo(plain[1]! * (kept + (1 - kept) / 4), 7);
    expect(scaled[2]).toBeCloseTo(plain[2]! / 4, 7);
    expect(scaled[3]).toBeCloseTo(plain[3]! / 4, 7);
  });

  it('stretches by a ramp over the dimensions, as YaRN does, and scales what it turns by', () => {
    const scaling = {
      kind: 'yarn',
      factor: 4,
      betaFast: 32,
      betaSlow: 1,
      originalContext: 4096,
      truncate: true,
      attentionFactor: 1.25,
    } as const;
    const ends = [32, 1].map((turns) => (64 * Math.log(4096 / (turns * 2 * Math.PI))) / (2 * Math.log(10_000)));
    const [low, high] = [Math.floor(ends[0]!), Math.ceil(ends[1]!)];
    expect([low, high]).toEqual([10, 23]);
    const plain = angles(1, { kind: 'none' }, 10_000, 64);
    for (const [i, angle] of angles(1, scaling, 10_000, 64).entries()) {
      const stretched = Math.min(Math.max((i - low) / (high - low), 0), 1);
      expect(angle).toBeCloseTo(plain[i]! * (1 - stretched + stretched / 4), 6);
    }
    const [cos, sin] = [new Float32Array(32), new Float32Array(32)];
    new RotaryTable({ theta: 10_000, dims: 64, pairs: 'halves', scaling }).fill(7, cos, sin, 0);
    for (let i = 0; i < 32; i++) expect(Math.hypot(cos[i]!, sin[i]!)).toBeCloseTo(1.25, 6);
    // gpt-oss: no rounding of the ends.
    const [exact] = [angles(1, { ...scaling, truncate: false }, 10_000, 64)];
    expect(exact[11]).not.toBe(angles(1, scaling, 10_000, 64)[11]);
  });
});
