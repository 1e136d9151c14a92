import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ranking } from '../../test/fakes/naive-generation.ts';
import { BestTokens, rankKey, tokenOf } from './best-tokens.ts';

/** Few distinct values, so that ties are the rule; both zeros and minus infinity among them. */
const coarse = fc.constantFrom(-Infinity, -3.5, -1, -0, 0, 0.25, 1, 7);
const logit = fc.oneof(coarse, fc.float({ noNaN: true, noDefaultInfinity: true }));

test('keys sort tokens by logit, then by id', () => {
  fc.assert(
    fc.property(fc.array(logit, { minLength: 1, maxLength: 40 }), (values) => {
      const logits = Float32Array.from(values);
      const byKey = Float64Array.from(logits, (value, token) => rankKey(value, token)).sort();
      expect([...byKey].map(tokenOf)).toEqual(ranking(logits));
    }),
    { seed: 3, numRuns: 300 },
  );
});

test('the k best are what a full sort puts first, without the excluded ones', () => {
  fc.assert(
    fc.property(fc.array(logit, { minLength: 1, maxLength: 60 }), fc.integer({ min: 0, max: 60 }), (values, k) => {
      const logits = Float32Array.from(values);
      const best = new BestTokens(logits.length);
      const count = best.select(logits, k);
      const expected = ranking(logits).filter((token) => logits[token]! > -Infinity);
      expect(Array.from({ length: count }, (_, index) => best.token(index))).toEqual(expected.slice(0, k));
    }),
    { seed: 4, numRuns: 500 },
  );
});

test('the largest ids keep their place beside the largest logits', () => {
  const largest = 3.4028234663852886e38;
  for (const value of [largest, -largest, 0, 1e-45]) {
    const key = rankKey(value, 2 ** 21 - 1);
    expect(Number.isSafeInteger(key)).toBe(true);
    expect(tokenOf(key)).toBe(2 ** 21 - 1);
    expect(rankKey(value, 2 ** 21 - 2)).toBe(key - 1);
  }
});
