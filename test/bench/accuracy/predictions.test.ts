import { expect, test } from 'vitest';
import { divergence, meanDivergence, perplexity } from './predictions.ts';

const logits = (...probabilities: number[]): Float32Array => Float32Array.from(probabilities, Math.log);

test('a model that gives every next token a quarter has a perplexity of four, however long its windows are', () => {
  const rows = (count: number): Float32Array => Float32Array.from({ length: 4 * count }, () => 7);
  const windows = [Int32Array.of(0, 3, 1), Int32Array.of(2, 2)];
  expect(perplexity([rows(3), rows(2)], windows)).toBeCloseTo(4, 10);
});

test('perplexity asks the row of a token for the next one, and no row for the first of a window', () => {
  const sure = Float32Array.of(...logits(0.1, 0.9), ...logits(0.9, 0.1));
  expect(perplexity([sure], [Int32Array.of(0, 1)])).toBeCloseTo(1 / 0.9, 5);
  expect(perplexity([sure], [Int32Array.of(1, 0)])).toBeCloseTo(10, 5);
});

test('divergence is what the definition says, and not the same in the other direction', () => {
  const [p, q] = [logits(0.5, 0.25, 0.25), logits(0.25, 0.25, 0.5)];
  expect(divergence(p, q)).toBeCloseTo(0.25 * Math.log(2), 6);
  const steep = logits(0.9, 0.05, 0.05);
  const there = 0.5 * Math.log(0.5 / 0.9) + 0.5 * Math.log(0.25 / 0.05);
  const back = 0.9 * Math.log(0.9 / 0.5) + 0.1 * Math.log(0.05 / 0.25);
  expect(divergence(p, steep)).toBeCloseTo(there, 6);
  expect(divergence(steep, p)).toBeCloseTo(back, 6);
});

test('logits that are moved all together say the same, and hardly different ones diverge by next to nothing', () => {
  const row = logits(0.5, 0.3, 0.2);
  expect(
    divergence(
      row,
      row.map((value) => value + 4),
    ),
  ).toBeLessThan(1e-12);
  const nudged = row.map((value, i) => value + (i === 0 ? 1e-4 : 0));
  // To second order: half the variance of the difference.
  expect(divergence(row, nudged) / (0.5 * 0.25 * 1e-8)).toBeCloseTo(1, 1);
});

test('the mean is over rows, not over windows', () => {
  const [p, q] = [logits(0.5, 0.5), logits(0.25, 0.75)];
  const one = divergence(p, q);
  const windows = [Float32Array.of(...p, ...p, ...p), p];
  expect(meanDivergence(windows, [Float32Array.of(...p, ...p, ...p), q], 2)).toBeCloseTo(one / 4, 12);
});
