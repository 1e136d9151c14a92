import { expect, test } from 'vitest';
import { naiveDistribution, naiveLogprobs, ranking } from '../../test/fakes/naive-generation.ts';
import { hasPenalties, Penalties } from './penalties.ts';
import { bestTokenSuffices, Sampler, type SamplingContext } from './sampler.ts';
import { neutralSettings, type SamplingSettings } from './sampling-settings.ts';

function context(change: Partial<SamplingSettings>, more: Partial<SamplingContext> = {}): SamplingContext {
  const settings = { ...neutralSettings, ...change };
  const penalties = hasPenalties(settings) ? new Penalties(settings) : undefined;
  return { settings, choice: 0, generatedCount: 0, stopTokens: new Set(), penalties, ...more };
}

/** A bell of logits over some ids, without any ties. */
function bell(vocabularySize: number): Float32Array {
  return Float32Array.from({ length: vocabularySize }, (_, token) => 3 * Math.sin(token * 12.9898) + token / 1000);
}

function sampleOf(logits: Float32Array, asked: SamplingContext): number {
  const sampled = new Sampler(logits.length).sample(logits, asked);
  if (sampled.kind !== 'token') throw new Error(sampled.message);
  return sampled.token;
}

test('greedy takes the best token, the lowest id on a tie', () => {
  expect(sampleOf(Float32Array.of(1, 3, 2, 3), context({ temperature: 0 }))).toBe(1);
  expect(sampleOf(Float32Array.of(-5, -5), context({ temperature: 1e-6 }))).toBe(0);
});

test('draws follow the distribution that the settings describe', () => {
  const logits = bell(50);
  const cases: Partial<SamplingSettings>[] = [
    {},
    { temperature: 0.6 },
    { temperature: 1.7, topK: 20 },
    { topP: 0.8 },
    { minP: 0.1, temperature: 1.3 },
    { temperature: 0.9, topK: 30, topP: 0.95, minP: 0.01 },
  ];
  const draws = 20_000;
  const sampler = new Sampler(50);
  for (const change of cases) {
    const counts = new Float64Array(50);
    for (let position = 0; position < draws; position++) {
      const sampled = sampler.sample(
        logits,
        context({ ...change, seed: 2n ** 40n + 1n }, { generatedCount: position }),
      );
      if (sampled.kind === 'token') counts[sampled.token]!++;
    }
    const { kept, weights } = naiveDistribution(logits, { ...neutralSettings, ...change });
    const total = kept.reduce((sum, token) => sum + weights[token]!, 0);
    expect(counts.reduce((sum, count, token) => (kept.includes(token) ? sum : sum + count), 0)).toBe(0);
    const chiSquare = kept.reduce((sum, token) => {
      const expected = (draws * weights[token]!) / total;
      return sum + (counts[token]! - expected) ** 2 / expected;
    }, 0);
    // Mean k-1, variance 2(k-1): four standard deviations, and the seed is fixed.
    const freedom = kept.length - 1;
    expect(chiSquare, JSON.stringify(change)).toBeLessThan(freedom + 4 * Math.sqrt(2 * freedom));
  }
});

test('a draw depends on seed, choice and position and on nothing that went before', () => {
  const logits = bell(200);
  const draws = (sampler: Sampler) =>
    Array.from({ length: 40 }, (_, position) =>
      sampler.sample(logits, context({ seed: 9n }, { generatedCount: position })),
    );
  const used = new Sampler(200);
  const fresh = draws(new Sampler(200));
  used.sample(bell(200).reverse(), context({ topP: 0.3, logprobs: 5, logitBias: [{ token: 3, bias: 9 }] }));
  expect(draws(used)).toEqual(fresh);
  expect(draws(new Sampler(200)).map((_, choice) => sampleOf(logits, context({ seed: 9n }, { choice })))).not.toEqual(
    fresh,
  );
});

test('the row of logits stays as it was', () => {
  const logits = bell(60);
  const penalised = context({ repetitionPenalty: 1.5, logitBias: [{ token: 1, bias: 5 }], topP: 0.5, minTokens: 2 });
  penalised.penalties!.notePrompt(Int32Array.of(1, 2, 3));
  sampleOf(logits, { ...penalised, stopTokens: new Set([4]) });
  expect(logits).toEqual(bell(60));
});

test('a bias is added before the choice, also twice for one token', () => {
  const logits = Float32Array.of(0, 1, 2);
  expect(sampleOf(logits, context({ temperature: 0, logitBias: [{ token: 0, bias: 2.5 }] }))).toBe(0);
  const twice = [
    { token: 0, bias: 1.5 },
    { token: 0, bias: 1.5 },
  ];
  expect(sampleOf(logits, context({ temperature: 0, logitBias: twice }))).toBe(0);
});

test('penalties apply to logits with their bias, as in vLLM', () => {
  const biased = context({ temperature: 0, repetitionPenalty: 4, logitBias: [{ token: 0, bias: 8 }] });
  biased.penalties!.notePrompt(Int32Array.of(0));
  // (1 + 8) / 4 = 2.25 is less than 2.5; 1 / 4 + 8 would be more.
  expect(sampleOf(Float32Array.of(1, 2.5), biased)).toBe(1);
});

test('stop tokens are barred below min_tokens only', () => {
  const logits = Float32Array.of(9, 1, 5);
  const asked = (generatedCount: number) =>
    context({ temperature: 0, minTokens: 3 }, { generatedCount, stopTokens: new Set([0, 2]) });
  expect([0, 2, 3].map((count) => sampleOf(logits, asked(count)))).toEqual([1, 1, 0]);
});

test('log-probabilities are those of the raw logits, for the chosen token and the best ones', () => {
  const logits = bell(300);
  const change = { temperature: 0.2, topK: 3, logitBias: [{ token: 17, bias: 50 }], logprobs: 6 };
  const sampled = new Sampler(300).sample(logits, context(change));
  if (sampled.kind !== 'token') throw new Error(sampled.message);
  expect(sampled.token).toBe(17);
  const expected = naiveLogprobs(logits, 17, 6);
  expect(sampled.logprobs!.logprob).toBeCloseTo(expected.logprob, 10);
  expect(sampled.logprobs!.top.map(({ token }) => token)).toEqual(ranking(logits).slice(0, 6));
  for (const [rank, { logprob }] of sampled.logprobs!.top.entries()) {
    expect(logprob).toBeCloseTo(expected.top[rank]!.logprob, 10);
  }
});

test('log-probabilities do not overflow for large logits', () => {
  const sampled = new Sampler(2).sample(Float32Array.of(5000, 5000), context({ temperature: 0, logprobs: 2 }));
  expect(sampled).toMatchObject({ logprobs: { logprob: -Math.log(2), top: [{ token: 0 }, { token: 1 }] } });
});

test('a logit that is not finite fails the choice', () => {
  const sampler = new Sampler(3);
  for (const bad of [Number.NaN, Infinity, -Infinity]) {
    for (const temperature of [0, 1]) {
      expect(sampler.sample(Float32Array.of(1, bad, 2), context({ temperature })).kind).toBe('failed');
    }
    expect(sampler.accept(1, bad).kind).toBe('failed');
  }
});

test('barring the whole vocabulary fails the choice', () => {
  const asked = context({ minTokens: 1 }, { stopTokens: new Set([0, 1]) });
  expect(new Sampler(2).sample(Float32Array.of(1, 2), asked).kind).toBe('failed');
});

test('the best token suffices for greedy requests that change no logits and want no log-probabilities', () => {
  const greedy = { temperature: 0 };
  expect(bestTokenSuffices(context(greedy))).toBe(true);
  expect(bestTokenSuffices(context({ ...greedy, topK: 5, topP: 0.5, minP: 0.5 }))).toBe(true);
  const others: Partial<SamplingSettings>[] = [
    { temperature: 1 },
    { ...greedy, logprobs: 0 },
    { ...greedy, logitBias: [{ token: 0, bias: 1 }] },
    { ...greedy, presencePenalty: 1 },
    { ...greedy, frequencyPenalty: 1 },
    { ...greedy, repetitionPenalty: 1.1 },
  ];
  for (const change of others) expect(bestTokenSuffices(context(change))).toBe(false);
  const stopTokens = new Set([1]);
  expect(bestTokenSuffices(context({ ...greedy, minTokens: 2 }, { stopTokens, generatedCount: 1 }))).toBe(false);
  expect(bestTokenSuffices(context({ ...greedy, minTokens: 2 }, { stopTokens, generatedCount: 2 }))).toBe(true);
});
