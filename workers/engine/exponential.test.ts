import { expect, test } from 'vitest';
import { expMinus } from './exponential.ts';

test('it agrees with Math.exp to the last digits, on a fine grid and at the borders of the table', () => {
  let worst = 0;
  const check = (nats: number) => {
    const exact = Math.exp(-nats);
    worst = Math.max(worst, Math.abs(expMinus(nats) - exact) / exact);
  };
  for (let i = 0; i < 200_000; i++) check(i * 0.00349);
  for (let step = 0; step < 4000; step++) {
    const border = ((step + 0.5) * Math.LN2) / 64;
    for (const offset of [-1e-13, 0, 1e-13]) check(border + offset);
  }
  expect(worst).toBeLessThan(1e-15);
});

test('0 gives exactly 1, and what is far away gives exactly 0', () => {
  expect(expMinus(0)).toBe(1);
  expect(expMinus(700)).toBeGreaterThan(0);
  expect([701, 1e300, Number.POSITIVE_INFINITY].map(expMinus)).toEqual([0, 0, 0]);
});

test('it never rises', () => {
  let before = 1;
  for (let i = 1; i < 100_000; i++) {
    const value = expMinus(i * 0.0007);
    if (!(value <= before)) throw new Error(`it rises at ${i * 0.0007}`);
    before = value;
  }
});
