import { expect, test } from 'vitest';
import type { GroupLoad } from '../policy.ts';
import { LeastLoaded } from './least-loaded.ts';
import { RoundRobin } from './round-robin.ts';

const load = (group: string, sequences = 0, maxSequences = 8): GroupLoad => ({ group, sequences, maxSequences });
const request = { model: 'm', n: 1 };

test('least-loaded compares shares, not counts', () => {
  const policy = new LeastLoaded();
  expect(policy.pick(request, [load('a', 2, 4), load('b', 3, 16)])?.group).toBe('b');
  expect(policy.pick(request, [load('a', 0), load('b', 1)])?.group).toBe('a');
  expect(policy.pick(request, [])).toBeUndefined();
});

test('least-loaded takes turns between equals, whatever joins or leaves', () => {
  const policy = new LeastLoaded();
  const pick = (...groups: string[]) =>
    policy.pick(
      request,
      groups.map((group) => load(group)),
    )?.group;
  expect([pick('a', 'b'), pick('a', 'b'), pick('a', 'b')]).toEqual(['a', 'b', 'a']);
  expect([pick('a', 'b', 'c'), pick('a', 'b', 'c'), pick('a', 'b', 'c')]).toEqual(['c', 'b', 'a']);
  expect([pick('b'), pick('b', 'c')]).toEqual(['b', 'c']);
});

test('round-robin goes by name and keeps its place for each model', () => {
  const policy = new RoundRobin();
  const pick = (model: string, ...groups: string[]) =>
    policy.pick(
      { model, n: 1 },
      groups.map((group) => load(group)),
    )?.group;
  expect([pick('m', 'b', 'a'), pick('x', 'b', 'a'), pick('m', 'b', 'a'), pick('m', 'b', 'a')]).toEqual([
    'a',
    'a',
    'b',
    'a',
  ]);
  expect([pick('m', 'c'), pick('m', 'a', 'c')]).toEqual(['c', 'a']);
  expect(policy.pick(request, [])).toBeUndefined();
});
