import { expect, test } from 'vitest';
import { DescribeResponse } from '#proto/control.ts';
import { epochKey, groupKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, WorkerRecord } from '#proto/records.ts';
import { ClusterView, encodeEpoch } from './cluster-view.ts';
import { FleetHealth, type ProbeTarget } from './fleet-health.ts';

const { GROUP_STATE_READY, GROUP_STATE_DEAD, GROUP_STATE_DRAINING } = GroupState;
const health = (): FleetHealth =>
  new FleetHealth({ unreachableMax: 2, unansweredMax: 3, drainMsMin: 1000, drainMsMax: 9000 });

const ready = GroupRecord.fromPartial({
  ...{ group: 'm-0', epoch: 3, state: GROUP_STATE_READY },
  ranks: ['w0', 'w1'].map((worker, rank) => ({ rank, worker, address: `${worker}:1`, incarnation: `${worker}#1` })),
});

/** w0 is registered; w1 is known from the placement only. */
function viewOf(record: GroupRecord = ready): ClusterView {
  const view = new ClusterView(() => {});
  const w0 = WorkerRecord.fromPartial({ id: 'w0', address: 'w0:1', incarnation: 'w0#1' });
  const values: [string, Uint8Array][] = [
    [workerKey('w0'), WorkerRecord.encode(w0).finish()],
    [groupKey(record.group), GroupRecord.encode(record).finish()],
    [epochKey(record.group), encodeEpoch(record.group, record.epoch)],
  ];
  const entries = values.map(([key, value]) => ({ key, value, modRevision: 1, createRevision: 1 }));
  view.apply({ kind: 'snapshot', revision: 1, entries });
  return view;
}

function targetOf(health: FleetHealth, view: ClusterView, worker: string): ProbeTarget {
  const target = health.targets(view).find((target) => target.worker === worker);
  if (!target) throw new Error(`${worker} is not asked`);
  return target;
}

type Held = {
  group: string;
  epoch: number;
  ready?: boolean;
  leader?: boolean;
  status?: { running?: number; waiting?: number };
};
const answer = (incarnation: string, ...groups: Held[]): DescribeResponse =>
  DescribeResponse.fromPartial({ worker: { incarnation }, groups: groups.map((held) => ({ ready: true, ...held })) });

test('registered workers and those that the placement names are asked, each incarnation once', () => {
  const targets = health().targets(viewOf());
  expect(targets.map(({ worker, address, expected }) => [worker, address, expected.length])).toEqual([
    ['w0', 'w0:1', 1],
    ['w1', 'w1:1', 1],
  ]);
});

test('a worker is gone after two failed connections in a row, and back as soon as it answers', () => {
  const [fleet, view] = [health(), viewOf()];
  const target = targetOf(fleet, view, 'w1');
  const held = { group: 'm-0', epoch: 3 };
  fleet.onUnreachable(target);
  fleet.onAnswer(target, answer('w1#1', held), view, 0);
  fleet.onUnreachable(target);
  expect(fleet.gone.size).toBe(0);
  fleet.onUnreachable(target);
  expect([...fleet.gone]).toEqual(['w1#1']);
  fleet.onAnswer(target, answer('w1#1', held), view, 0);
  expect(fleet.gone.size).toBe(0);
});

test('a worker is silent, not gone, after three questions without an answer', () => {
  const [fleet, view] = [health(), viewOf()];
  const target = targetOf(fleet, view, 'w1');
  for (let miss = 0; miss < 2; miss++) fleet.onUnanswered(target);
  expect(fleet.silent.size).toBe(0);
  fleet.onUnanswered(target);
  expect([[...fleet.silent], [...fleet.gone]]).toEqual([['w1#1'], []]);
});

test('another incarnation that answers at the address means that the old one is gone', () => {
  const [fleet, view] = [health(), viewOf()];
  expect(fleet.onAnswer(targetOf(fleet, view, 'w1'), answer('w1#2', { group: 'm-0', epoch: 2 }), view, 0)).toEqual([]);
  expect([...fleet.gone]).toEqual(['w1#1']);
});

test('a formation is lost when a worker does not hold it, or not ready, or at another epoch', () => {
  for (const held of [[], [{ group: 'm-0', epoch: 3, ready: false }], [{ group: 'm-0', epoch: 2 }]]) {
    const [fleet, view] = [health(), viewOf()];
    fleet.onAnswer(targetOf(fleet, view, 'w0'), answer('w0#1', ...held), view, 0);
    expect([...fleet.lost]).toEqual([['m-0@3', 'the team on worker w0 ended']]);
  }
});

test('an answer from before the group became ready does not judge it', () => {
  const fleet = health();
  const target = targetOf(fleet, viewOf({ ...ready, state: GroupState.GROUP_STATE_WARMING }), 'w0');
  fleet.onAnswer(target, answer('w0#1', { group: 'm-0', epoch: 3, ready: false }), viewOf(), 0);
  expect(fleet.lost.size).toBe(0);
});

test('teams of older epochs, of dead and of forgotten groups are strays', () => {
  const fleet = health();
  const held = { group: 'm-0', epoch: 3 };
  const strays = (view: ClusterView, ...groups: Held[]) =>
    fleet.onAnswer(targetOf(fleet, viewOf(), 'w0'), answer('w0#1', ...groups), view, 0);
  expect(strays(viewOf(), held)).toEqual([]);
  expect(strays(viewOf(), held, { group: 'm-0', epoch: 2 })).toEqual([{ group: 'm-0', epoch: 2 }]);
  expect(strays(viewOf({ ...ready, state: GROUP_STATE_DEAD }), held)).toEqual([held]);
  const forgotten = viewOf();
  forgotten.apply({ kind: 'delete', key: groupKey('m-0') });
  expect(strays(forgotten, held)).toEqual([held]);
  expect(strays(viewOf({ ...ready, ranks: ready.ranks.slice(1) }), held)).toEqual([held]);
});

test('a team of an epoch or group that the store does not know yet is none: the view may be behind', () => {
  const [fleet, view] = [health(), viewOf()];
  const ahead = [
    { group: 'm-0', epoch: 4 },
    { group: 'unheard-of', epoch: 1 },
  ];
  expect(fleet.onAnswer(targetOf(fleet, view, 'w0'), answer('w0#1', ...ahead), view, 0)).toEqual([]);
});

test('a drain is over when its leader runs nothing, not before its shortest time', () => {
  const [fleet, view] = [health(), viewOf({ ...ready, state: GROUP_STATE_DRAINING })];
  const target = targetOf(fleet, view, 'w0');
  const idle = { group: 'm-0', epoch: 3, leader: true, status: { running: 0, waiting: 0 } };
  fleet.observe(view, 100);
  fleet.onAnswer(target, answer('w0#1', idle), view, 1099);
  fleet.onAnswer(target, answer('w0#1', { ...idle, status: { running: 1 } }), view, 1100);
  fleet.onAnswer(target, answer('w0#1', { ...idle, status: { waiting: 1 } }), view, 1100);
  fleet.onAnswer(target, answer('w0#1', { ...idle, leader: false }), view, 1100);
  expect(fleet.drained.size).toBe(0);
  fleet.onAnswer(target, answer('w0#1', idle), view, 1100);
  expect([...fleet.drained]).toEqual(['m-0@3']);
});

test('a drain is over after its longest time, whatever runs', () => {
  const [fleet, view] = [health(), viewOf({ ...ready, state: GROUP_STATE_DRAINING })];
  fleet.observe(view, 100);
  fleet.observe(view, 9099);
  expect(fleet.drained.size).toBe(0);
  fleet.observe(view, 9100);
  expect([...fleet.drained]).toEqual(['m-0@3']);
});

test('what concerns nobody any more is forgotten', () => {
  const [fleet, view] = [health(), viewOf()];
  const target = targetOf(fleet, view, 'w1');
  for (let miss = 0; miss < 3; miss++) fleet.onUnanswered(target);
  for (let miss = 0; miss < 2; miss++) fleet.onUnreachable(target);
  fleet.onAnswer(targetOf(fleet, view, 'w0'), answer('w0#1'), view, 0);
  expect(fleet.findingCount).toBe(3);
  fleet.observe(viewOf({ ...ready, state: GROUP_STATE_DEAD }), 0);
  expect(fleet.findingCount).toBe(0);
});
