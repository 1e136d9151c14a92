import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseExperts } from './routing.ts';
import type { ExpertsSpec } from './spec.ts';

function choose(rows: readonly (readonly number[])[], chosen: number, normalise: boolean) {
  const experts = rows[0]!.length;
  const spec: ExpertsSpec = { kind: 'experts', experts, chosen, width: 1, routing: { score: 'softmax', normalise } };
  const choice = { experts: new Int32Array(rows.length * chosen), weights: new Float32Array(rows.length * chosen) };
  chooseExperts(Float32Array.from(rows.flat()), rows.length, spec, choice);
  return rows.map((_, row) => ({
    experts: [...choice.experts.subarray(row * chosen, (row + 1) * chosen)],
    weights: [...choice.weights.subarray(row * chosen, (row + 1) * chosen)],
  }));
}

/** Softmax, sort, cut off, sort back: the definition. */
function chooseSlowly(scores: readonly number[], chosen: number, normalise: boolean) {
  const rounded = scores.map(Math.fround);
  const best = Math.max(...rounded);
  const terms = rounded.map((score) => Math.exp(score - best));
  const ranked = [...rounded.keys()].sort((a, b) => rounded[b]! - rounded[a]! || a - b).slice(0, chosen);
  const experts = ranked.sort((a, b) => a - b);
  const sum = (normalise ? experts.map((expert) => terms[expert]!) : terms).reduce((a, b) => a + b, 0);
  return { experts, weights: experts.map((expert) => terms[expert]! / sum) };
}

describe('choosing experts', () => {
  it('agrees with the definition, whatever the scores', () => {
    const score = fc.oneof(fc.float({ min: -30, max: 30, noNaN: true }), fc.integer({ min: -2, max: 2 }));
    const problem = fc.integer({ min: 1, max: 20 }).chain((experts) =>
      fc.record({
        rows: fc.array(fc.array(score, { minLength: experts, maxLength: experts }), { minLength: 1, maxLength: 4 }),
        chosen: fc.integer({ min: 1, max: experts }),
        normalise: fc.boolean(),
      }),
    );
    fc.assert(
      fc.property(problem, ({ rows, chosen, normalise }) => {
        for (const [row, { experts, weights }] of choose(rows, chosen, normalise).entries()) {
          const slow = chooseSlowly(rows[row]!, chosen, normalise);
          expect(experts).toEqual(slow.experts);
          for (const [i, weight] of weights.entries()) expect(weight).toBeCloseTo(slow.weights[i]!, 6);
        }
      }),
    );
  });

  it('lets the lower index win a tie', () => {
    expect(choose([[1, 3, 3, 3, 1]], 2, true)).toEqual([{ experts: [1, 2], weights: [0.5, 0.5] }]);
  });

  it('keeps the share of all experts when weights are not normalised', () => {
    expect(choose([[0, 0, 0, 0]], 1, false)).toEqual([{ experts: [0], weights: [0.25] }]);
  });

  it('survives scores that overflow an exponential', () => {
    expect(choose([[1000, -1000, 999]], 2, true)[0]!.weights.every((weight) => weight > 0 && weight < 1)).toBe(true);
  });
});
