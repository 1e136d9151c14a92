import { expect, test } from 'vitest';
import type { StoreEntry } from '#platform/store.ts';
import { epochKey, groupKey, leaderKey, modelKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, ModelRecord, WorkerRecord } from '#proto/records.ts';
import { ClusterView, encodeEpoch } from './cluster-view.ts';

const group = (epoch: number, state: GroupState = GroupState.GROUP_STATE_READY): GroupRecord =>
  GroupRecord.fromPartial({ group: 'm-0', epoch, state });
const entry = (key: string, value: Uint8Array, modRevision: number): StoreEntry => ({
  ...{ key, value, modRevision, createRevision: 1 },
});
const put = (record: GroupRecord, revision: number) =>
  ({ kind: 'put', entry: entry(groupKey('m-0'), GroupRecord.encode(record).finish(), revision) }) as const;

function createView(): { view: ClusterView; unusable: string[] } {
  const unusable: string[] = [];
  return { view: new ClusterView((key) => unusable.push(key)), unusable };
}

test('a snapshot replaces everything, and later events change it', () => {
  const { view } = createView();
  view.apply(put(group(1), 2));
  const model = ModelRecord.encode(ModelRecord.fromPartial({ name: 'm' })).finish();
  const worker = WorkerRecord.encode(WorkerRecord.fromPartial({ id: 'w' })).finish();
  const entries = [entry(modelKey('m'), model, 1), entry(workerKey('w'), worker, 1), entry(leaderKey, worker, 1)];
  view.apply({ kind: 'snapshot', revision: 5, entries });
  expect([[...view.models.keys()], [...view.workers.keys()], [...view.groups.keys()]]).toEqual([['m'], ['w'], []]);
  view.apply({ kind: 'delete', key: modelKey('m') });
  view.apply({ kind: 'delete', key: workerKey('w') });
  expect([view.models.size, view.workers.size]).toEqual([0, 0]);
});

test('our own write is seen at once, its echo changes nothing, and an older event never undoes it', () => {
  const { view } = createView();
  const mine = group(2);
  view.wrote(mine, 9, true);
  view.apply(put(group(1), 8));
  view.apply(put(group(2), 9));
  expect(view.groups.get('m-0')).toBe(mine);
  expect([view.epochOf('m-0'), view.revisionOf(groupKey('m-0')), view.revisionOf(epochKey('m-0'))]).toEqual([2, 9, 9]);
  view.apply(put(group(3), 10));
  expect(view.groups.get('m-0')?.epoch).toBe(3);
});

test('an epoch outlives its record', () => {
  const { view } = createView();
  view.apply({ kind: 'put', entry: entry(epochKey('m-0'), encodeEpoch('m-0', 7), 3) });
  view.apply(put(group(7), 3));
  view.apply({ kind: 'delete', key: groupKey('m-0') });
  expect([view.groups.size, view.epochOf('m-0'), view.revisionOf(groupKey('m-0'))]).toEqual([0, 7, undefined]);
});

test('a value that cannot be used is reported and counts as absent, but its revision is known, so that it can be replaced', () => {
  const { view, unusable } = createView();
  view.apply(put(group(1), 2));
  view.apply({ kind: 'put', entry: entry(groupKey('m-0'), new Uint8Array([255]), 3) });
  view.apply({ kind: 'put', entry: entry(workerKey('w'), new Uint8Array([255]), 3) });
  view.apply({ kind: 'put', entry: entry(groupKey('m-1'), GroupRecord.encode(group(1, 0)).finish(), 3) });
  expect(unusable).toEqual([groupKey('m-0'), workerKey('w'), groupKey('m-1')]);
  expect([view.groups.size, view.workers.size, view.revisionOf(groupKey('m-0'))]).toEqual([0, 0, 3]);
});
