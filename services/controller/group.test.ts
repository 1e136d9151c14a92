import { expect, test } from 'vitest';
import { AssertionError } from '#platform/assert.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';
import {
  becomeDead,
  becomeDrained,
  becomeDraining,
  becomeForming,
  becomeReady,
  becomeWarming,
  failForming,
  failWarming,
  loseDraining,
  loseReady,
  remainDead,
} from './group.ts';

const { GROUP_STATE_FORMING, GROUP_STATE_WARMING, GROUP_STATE_READY, GROUP_STATE_DRAINING, GROUP_STATE_DEAD } =
  GroupState;
const states = [GROUP_STATE_FORMING, GROUP_STATE_WARMING, GROUP_STATE_READY, GROUP_STATE_DRAINING, GROUP_STATE_DEAD];
const ranks = [{ rank: 0, worker: 'w0', address: 'a:1', rankAddress: 'a:2', incarnation: 'i' }];
const at = (state: GroupState, epoch = 1): GroupRecord =>
  GroupRecord.fromPartial({ group: 'm-0', epoch, state, ranks });

const edges: [string, (record: GroupRecord) => GroupRecord, GroupState, GroupState][] = [
  ['becomeWarming', becomeWarming, GROUP_STATE_FORMING, GROUP_STATE_WARMING],
  ['becomeReady', becomeReady, GROUP_STATE_WARMING, GROUP_STATE_READY],
  ['becomeDraining', (record) => becomeDraining(record, 5), GROUP_STATE_READY, GROUP_STATE_DRAINING],
  ['becomeDrained', becomeDrained, GROUP_STATE_DRAINING, GROUP_STATE_DEAD],
  ['failForming', (record) => failForming(record, 'why'), GROUP_STATE_FORMING, GROUP_STATE_DEAD],
  ['failWarming', (record) => failWarming(record, 'why'), GROUP_STATE_WARMING, GROUP_STATE_DEAD],
  ['loseReady', (record) => loseReady(record, 'why'), GROUP_STATE_READY, GROUP_STATE_DEAD],
  ['loseDraining', (record) => loseDraining(record, 'why'), GROUP_STATE_DRAINING, GROUP_STATE_DEAD],
  ['remainDead', (record) => remainDead(record, 'm-0', 'm', 'why'), GROUP_STATE_DEAD, GROUP_STATE_DEAD],
  ['becomeForming', (record) => becomeForming(record, { ...record, epoch: 2 }), GROUP_STATE_DEAD, GROUP_STATE_FORMING],
];

test.each(edges)('%s leaves its own state only', (_, edge, from, to) => {
  for (const state of states) {
    if (state === from) expect(edge(at(state)).state).toBe(to);
    else expect(() => edge(at(state))).toThrow(AssertionError);
  }
});

test('becomeDead takes the edge of every state but Dead, and says why', () => {
  for (const state of states.filter((state) => state !== GROUP_STATE_DEAD)) {
    expect(becomeDead(at(state), 'why')).toEqual({ ...at(GROUP_STATE_DEAD), failure: 'why' });
  }
  expect(() => becomeDead(at(GROUP_STATE_DEAD), 'why')).toThrow(AssertionError);
});

test('a formation needs a higher epoch, and ranks in order', () => {
  const dead = at(GROUP_STATE_DEAD, 3);
  expect(() => becomeForming(dead, { ...dead, epoch: 3 })).toThrow('epoch 3 does not rise');
  expect(() => becomeForming(undefined, { ...dead, epoch: 0 })).toThrow('epoch 0 does not rise');
  expect(() => becomeForming(undefined, { ...dead, ranks: [] })).toThrow('without ranks');
  const swapped = [1, 0].map((rank) => ({ ...at(1).ranks[0]!, rank }));
  expect(() => becomeForming(undefined, { ...dead, ranks: swapped })).toThrow('rank 1 stands at 0');
});

test('an edge that did not fail clears the reason of an earlier failure', () => {
  const dead = { ...at(GROUP_STATE_DEAD), failure: 'why' };
  expect(becomeForming(dead, { ...dead, epoch: 2 }).failure).toBe('');
});
