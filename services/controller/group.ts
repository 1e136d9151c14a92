/**
 * The life of a group's formation: one function per edge, each asserting the state that it leaves.
 *
 *   (none) | Dead -> Forming -> Warming -> Ready -> Draining -> Dead
 *
 * Forming: the placement is written; its workers verify and load the package. Left when all have loaded, or by failure.
 * Warming: the ranks join, test themselves and warm up. Left when every worker is warm, or by failure.
 * Ready: serves. Left by a drain or by the loss of a worker or of a team.
 * Draining: takes no new request. Left when it has none, when it waited long enough, or by loss.
 * Dead: serves nothing and owns no rank; `failure` says why. Left only by a formation at a higher epoch.
 */
import { assert } from '#platform/assert.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';

/** What a formation fixes; everything else follows from the edges. */
export type Formation = Omit<GroupRecord, 'state' | 'failure'>;

/** Names one formation of a group, for ever: epochs never come back. */
export const formationId = (record: { group: string; epoch: number }): string => `${record.group}@${record.epoch}`;

export function becomeForming(previous: GroupRecord | undefined, formation: Formation): GroupRecord {
  if (previous) assertState(previous, GroupState.GROUP_STATE_DEAD);
  assert(formation.epoch > (previous?.epoch ?? 0), `${formation.group}: epoch ${formation.epoch} does not rise`);
  assert(formation.ranks.length > 0, `${formation.group}: formed without ranks`);
  for (const [index, { rank }] of formation.ranks.entries()) {
    assert(rank === index, `${formation.group}: rank ${rank} stands at ${index}`);
  }
  return GroupRecord.fromPartial({ ...formation, state: GroupState.GROUP_STATE_FORMING, failure: '' });
}

/** Stays (or first becomes) Dead: says why no formation starts. Keeps the epoch. */
export function remainDead(
  previous: GroupRecord | undefined,
  group: string,
  model: string,
  failure: string,
): GroupRecord {
  if (previous) assertState(previous, GroupState.GROUP_STATE_DEAD);
  const base = previous ?? GroupRecord.fromPartial({ group, model });
  return { ...base, state: GroupState.GROUP_STATE_DEAD, failure };
}

export function becomeWarming(record: GroupRecord): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_FORMING, GroupState.GROUP_STATE_WARMING);
}

export function becomeReady(record: GroupRecord): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_WARMING, GroupState.GROUP_STATE_READY);
}

/** limitMs: how long it may take; undefined: as long as every drain. */
export function becomeDraining(record: GroupRecord, limitMs: number | undefined): GroupRecord {
  return { ...edge(record, GroupState.GROUP_STATE_READY, GroupState.GROUP_STATE_DRAINING), drainMs: limitMs };
}

/** The drain is over: nothing runs, or it waited long enough. */
export function becomeDrained(record: GroupRecord): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_DRAINING, GroupState.GROUP_STATE_DEAD);
}

export function failForming(record: GroupRecord, failure: string): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_FORMING, GroupState.GROUP_STATE_DEAD, failure);
}

export function failWarming(record: GroupRecord, failure: string): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_WARMING, GroupState.GROUP_STATE_DEAD, failure);
}

export function loseReady(record: GroupRecord, failure: string): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_READY, GroupState.GROUP_STATE_DEAD, failure);
}

export function loseDraining(record: GroupRecord, failure: string): GroupRecord {
  return edge(record, GroupState.GROUP_STATE_DRAINING, GroupState.GROUP_STATE_DEAD, failure);
}

/** The edge to Dead that belongs to the record's state, which is not Dead. */
export function becomeDead(record: GroupRecord, failure: string): GroupRecord {
  switch (record.state) {
    case GroupState.GROUP_STATE_FORMING:
      return failForming(record, failure);
    case GroupState.GROUP_STATE_WARMING:
      return failWarming(record, failure);
    case GroupState.GROUP_STATE_READY:
      return loseReady(record, failure);
    default:
      return loseDraining(record, failure);
  }
}

/** Of one formation: whether it is where `target` is, or has been there. Every edge leads to a later state. */
export function isAtOrPast(record: GroupRecord, target: GroupRecord): boolean {
  return record.epoch === target.epoch && record.state >= target.state;
}

/** Owns ranks: its places are taken. */
export function isAlive(record: GroupRecord): boolean {
  return record.state !== GroupState.GROUP_STATE_DEAD;
}

/** On the way to Ready. */
export function isForming(record: GroupRecord): boolean {
  return record.state === GroupState.GROUP_STATE_FORMING || record.state === GroupState.GROUP_STATE_WARMING;
}

/** Every worker of it must hold it. */
export function isServing(record: GroupRecord): boolean {
  return record.state === GroupState.GROUP_STATE_READY || record.state === GroupState.GROUP_STATE_DRAINING;
}

function edge(record: GroupRecord, from: GroupState, to: GroupState, failure = ''): GroupRecord {
  assertState(record, from);
  return { ...record, state: to, failure };
}

function assertState(record: GroupRecord, expected: GroupState): void {
  assert(record.state === expected, `${record.group} is in state ${record.state}, not ${expected}`);
}
