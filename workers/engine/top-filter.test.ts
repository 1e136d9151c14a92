import fc from 'fast-check';
import { expect, test } from 'vitest';
import { naiveDistribution } from '../../test/fakes/naive-generation.ts';
import { BestTokens } from './best-tokens.ts';
import { neutralSettings, type SamplingSettings } from './sampling-settings.ts';
import { TopFilter } from './top-filter.ts';

function kept(logits: Float32Array, change: Partial<SamplingSettings>): number[] {
  const filter = new TopFilter(logits.length, new BestTokens(logits.length));
  filter.apply(logits, Math.max(...logits), { ...neutralSettings, ...change });
  return [...filter.ids.subarray(0, filter.count)];
}

/** Logits of given probabilities. */
const withProbabilities = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);

const example = withProbabilities(0.05, 0.4, 0.15, 0.3, 0.1);

test('without filters every token stays', () => {
  expect(kept(example, {})).toEqual([0, 1, 2, 3, 4]);
});

test('top_k keeps exactly k, the lower ids of a tie', () => {
  expect(kept(example, { topK: 2 })).toEqual([1, 3]);
  expect(kept(withProbabilities(0.25, 0.25, 0.25, 0.25), { topK: 3 })).toEqual([0, 1, 2]);
  expect(kept(example, { topK: 5 })).toHaveLength(5);
  expect(kept(example, { topK: 100 })).toHaveLength(5);
});

test('top_p keeps the token that crosses the border and none behind it', () => {
  expect(kept(example, { topP: 0.39 })).toEqual([1]);
  expect(kept(example, { topP: 0.41 })).toEqual([1, 3]);
  expect(kept(example, { topP: 0.71 })).toEqual([1, 2, 3]);
  expect(kept(example, { topP: 0.96 })).toEqual([0, 1, 2, 3, 4]);
  expect(kept(example, { topP: 1e-12 })).toEqual([1]);
});

test('top_p among equals keeps the lower ids', () => {
  expect(kept(new Float32Array(100), { topP: 0.295 })).toEqual(Array.from({ length: 30 }, (_, token) => token));
  expect(kept(new Float32Array(4), { topP: 0.5 })).toEqual([0, 1]);
});

test('min_p measures by the best token, at the temperature in force', () => {
  expect(kept(example, { minP: 0.3 })).toEqual([1, 2, 3]);
  expect(kept(example, { minP: 0.8 })).toEqual([1]);
  expect(kept(example, { minP: 0.8, temperature: 2 })).toEqual([1, 3]);
});

test('top_p looks at what top_k and min_p left', () => {
  // Of 0.4 and 0.3 the first has a share of 0.57.
  expect(kept(example, { topK: 2, topP: 0.56 })).toEqual([1]);
  expect(kept(example, { topK: 2, topP: 0.58 })).toEqual([1, 3]);
  expect(kept(example, { minP: 0.7, topP: 0.56 })).toEqual([1]);
});

test('barred tokens never stay', () => {
  const logits = Float32Array.of(1, -Infinity, 0.5, -Infinity);
  for (const change of [{}, { topK: 3 }, { topP: 0.999999 }, { minP: 0.001 }, { temperature: 1e30 }]) {
    expect(kept(logits, change)).toEqual([0, 2]);
  }
});

test('extreme temperatures leave one token or all of them', () => {
  expect(kept(example, { temperature: 1.1e-5, topP: 0.5 })).toEqual([1]);
  expect(kept(example, { temperature: 1e38, topP: 0.5 })).toEqual([1, 2, 3]);
});

test('a draw returns each token for its share of the unit interval, in order of ids', () => {
  const filter = new TopFilter(5, new BestTokens(5));
  filter.apply(example, Math.log(0.4), neutralSettings);
  const draws = [1e-17, 0.049, 0.051, 0.449, 0.451, 0.599, 0.601, 0.899, 0.901, 1 - 2 ** -53];
  expect(draws.map((u) => filter.draw(u))).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
});

test('whatever the filters, the tokens that stay are those of a full sort', () => {
  const settings = fc.record({
    temperature: fc.double({ min: 0.05, max: 5, noNaN: true }),
    topK: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 400 })),
    topP: fc.oneof(fc.constant(1), fc.double({ min: 0.001, max: 0.9999, noNaN: true })),
    minP: fc.oneof(fc.constant(0), fc.double({ min: 0.0001, max: 0.9, noNaN: true })),
  });
  const logits = fc.array(fc.float({ min: -30, max: 30, noNaN: true }), { minLength: 1, maxLength: 400 });
  fc.assert(
    fc.property(logits, settings, (values, change) => {
      const row = Float32Array.from(values);
      expect(kept(row, change)).toEqual(naiveDistribution(row, { ...neutralSettings, ...change }).kept);
    }),
    { seed: 5, numRuns: 800 },
  );
});
