import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Comparison } from './comparison.ts';
import { type Golden, parseGolden } from './golden.ts';

const golden: Golden = {
  name: 'tiny',
  prompt: [5, 6],
  logits: new Map([[1, [0, 2, 1]]]),
  logitsStd: 0.5,
  argmax: [0, 1],
  hiddenLast: [
    [3, 4],
    [1, 1],
  ],
  routingLast: new Map([[1, { experts: [7, 2], weights: [0.75, 0.25] }]]),
  continuation: [1, 2, 3],
};

function compare(change: { logits?: number[]; hidden?: number[][]; experts?: number[]; tokens?: number[] } = {}) {
  const comparison = new Comparison(golden, 1e-4);
  comparison.logits(0, Float32Array.of(9, 0, 0));
  comparison.logits(1, Float32Array.from(change.logits ?? [0, 2, 1]));
  const hidden = change.hidden ?? golden.hiddenLast;
  const experts = change.experts ?? [2, 7];
  comparison.inside(
    hidden.map((values) => Float32Array.from(values)),
    new Map([[1, { experts, weights: [0.25, 0.75] }]]),
  );
  comparison.continuation(change.tokens ?? [1, 2, 3]);
  return comparison.report('whole');
}

test('equal values pass, whatever the order of the experts', () => {
  expect(compare()).toEqual({
    scenario: 'whole',
    passed: true,
    logitError: 0,
    argmaxDepartures: [],
    continuationEqual: true,
    firstDeparture: undefined,
  });
});

test('a logit that is off counts in standard deviations, and one that is no number is infinitely far', () => {
  expect(compare({ logits: [0, 2, 1.25] })).toMatchObject({ passed: false, logitError: 0.5 });
  expect(compare({ logits: [0, 2, Number.NaN] })).toMatchObject({
    passed: false,
    logitError: Number.POSITIVE_INFINITY,
  });
  expect(compare({ logits: [0, 2] })).toMatchObject({ passed: false, logitError: Number.POSITIVE_INFINITY });
});

test('another best token and another continuation fail by themselves', () => {
  expect(compare({ logits: [3, 2, 1] }).argmaxDepartures).toEqual([1]);
  expect(compare({ tokens: [1, 2, 4] })).toMatchObject({ passed: false, continuationEqual: false, logitError: 0 });
});

test('the first layer that departs is named, routing before the residual stream it leads to', () => {
  const hidden = [
    [3, 4],
    [1, 1.5],
  ];
  expect(compare({ hidden }).firstDeparture).toEqual({ layer: 1, what: 'hidden', error: 0.5 });
  expect(compare({ hidden, experts: [2, 6] }).firstDeparture).toMatchObject({ layer: 1, what: 'routing' });
  expect(
    compare({
      hidden: [
        [3, 4.1],
        [1, 1.5],
      ],
    }).firstDeparture,
  ).toMatchObject({ layer: 0, what: 'hidden' });
  expect(compare({ hidden: [[3, 4]] }).firstDeparture).toMatchObject({ layer: 1, error: Number.POSITIVE_INFINITY });
});

test('the goldens of the repository are read, anything else is refused with what is wrong', () => {
  const text = readFileSync(new URL('../../test/goldens/qwen3_moe.json', import.meta.url), 'utf8');
  const read = parseGolden(text, 'qwen3_moe.json');
  expect([read.name, read.prompt.length, read.continuation.length]).toEqual(['qwen3_moe', 48, 24]);
  expect([...read.logits.keys()]).toEqual([0, 1, 23, 47]);
  expect(read.routingLast.get(2)?.experts).toHaveLength(3);
  expect(() => parseGolden('{"name": 1}', 'x.json')).toThrow(/x\.json is not a golden file.*name/s);
  expect(() => parseGolden('not JSON', 'x.json')).toThrow(/x\.json is not a golden file/);
});
