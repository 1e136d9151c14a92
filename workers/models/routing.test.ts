import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpertChooser } from './routing.ts';
import type { ExpertsSpec, RoutingSpec } from './spec.ts';

type Rows = readonly (readonly number[])[];

const plain: RoutingSpec = {
  score: 'softmax',
  bias: false,
  correction: false,
  groups: null,
  normalise: true,
  scale: 1,
};

function choose(rows: Rows, chosen: number, routing: Partial<RoutingSpec>, correction?: readonly number[]) {
  const experts = rows[0]!.length;
  const spec: ExpertsSpec = {
    kind: 'experts',
    experts,
    chosen,
    width: 1,
    bias: false,
    activation: { kind: 'silu' },
    shared: null,
    routing: { ...plain, ...routing, correction: correction !== undefined },
  };
  const choice = { experts: new Int32Array(rows.length * chosen), weights: new Float32Array(rows.length * chosen) };
  const chooser = new ExpertChooser(spec, correction && Float32Array.from(correction));
  chooser.choose(Float32Array.from(rows.flat()), rows.length, choice);
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
        for (const [row, { experts, weights }] of choose(rows, chosen, { normalise }).entries()) {
          const slow = chooseSlowly(rows[row]!, chosen, normalise);
          expect(experts).toEqual(slow.experts);
          for (const [i, weight] of weights.entries()) expect(weight).toBeCloseTo(slow.weights[i]!, 6);
        }
      }),
    );
  });

  it('lets the lower index win a tie', () => {
    expect(choose([[1, 3, 3, 3, 1]], 2, {})).toEqual([{ experts: [1, 2], weights: [0.5, 0.5] }]);
  });

  it('keeps the share of all experts when weights are not normalised', () => {
    expect(choose([[0, 0, 0, 0]], 1, { normalise: false })).toEqual([{ experts: [0], weights: [0.25] }]);
  });

  it('survives scores that overflow an exponential', () => {
    expect(choose([[1000, -1000, 999]], 2, {})[0]!.weights.every((weight) => weight > 0 && weight < 1)).toBe(true);
  });

  it('takes sigmoids where the family does, each by itself, and scales them', () => {
    const half = 1 / (1 + Math.exp(-2));
    const [row] = choose([[2, -1, 0]], 2, { score: 'sigmoid', normalise: false, scale: 2.5 });
    expect(row!.experts).toEqual([0, 2]);
    expect(row!.weights[0]).toBeCloseTo(2.5 * half, 6);
    expect(row!.weights[1]).toBeCloseTo(2.5 * 0.5, 6);
    const [shared] = choose([[2, -1, 0]], 2, { score: 'sigmoid', scale: 2.5 });
    expect(shared!.weights[0]).toBeCloseTo((2.5 * half) / (half + 0.5), 6);
    expect(choose([[-1000, -1000]], 2, { score: 'sigmoid' })[0]!.weights).toEqual([0, 0]);
  });

  it('corrects scores for choosing only', () => {
    const [row] = choose([[0, 0, 0, 0]], 2, {}, [0, -0.1, 0, 0.1]);
    expect(row).toEqual({ experts: [0, 3], weights: [0.5, 0.5] });
    expect(choose([[900, 0, 0, 0]], 2, {}, [-2, 0, 0, 0])[0]).toEqual({ experts: [1, 2], weights: [0.5, 0.5] });
  });

  it('chooses from the best groups, also where all that is left is below zero', () => {
    const logits = [[4, -9, 1, 1, -9, -9]];
    const groups = (by: 'best' | 'best-two') => ({ groups: { count: 3, chosen: 1, by }, score: 'sigmoid' as const });
    expect(choose(logits, 2, groups('best'))[0]!.experts).toEqual([0, 1]);
    expect(choose(logits, 2, groups('best-two'))[0]!.experts).toEqual([2, 3]);
    const low = [-0.99, -0.99, -0.9, -0.9, -0.99, -0.99];
    expect(choose([[0, 0, 0, 0, 0, 0]], 2, groups('best-two'), low)[0]!.experts).toEqual([2, 3]);
  });
});
