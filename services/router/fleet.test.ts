import { expect, test } from 'vitest';
import { groupKey, leaderKey, modelKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, ModelRecord, WorkerRecord } from '#proto/records.ts';
import { Fleet } from './fleet.ts';

const entry = (key: string, value: Uint8Array) => ({ key, value, modRevision: 1, createRevision: 1 });
const group = (name: string, state: GroupState = GroupState.GROUP_STATE_READY) =>
  entry(
    groupKey(name),
    GroupRecord.encode(GroupRecord.fromPartial({ group: name, model: 'm', epoch: 3, state })).finish(),
  );
const model = (name: string) => entry(modelKey(name), ModelRecord.encode(ModelRecord.fromPartial({ name })).finish());
const worker = (id: string) => entry(workerKey(id), WorkerRecord.encode(WorkerRecord.fromPartial({ id })).finish());
const broken = (key: string) => entry(key, Uint8Array.of(0x0a, 200));

test('puts and deletes change what a snapshot began, and a snapshot replaces all of it', () => {
  const fleet = new Fleet();
  fleet.apply({
    kind: 'snapshot',
    revision: 1,
    entries: [model('m'), group('a'), worker('w'), entry(leaderKey, new Uint8Array())],
  });
  fleet.apply({ kind: 'put', entry: group('b', GroupState.GROUP_STATE_WARMING) });
  expect([fleet.readyGroupCount('m'), fleet.isReady('a', 3), fleet.isReady('a', 2), fleet.isReady('b', 3)]).toEqual([
    1,
    true,
    false,
    false,
  ]);
  fleet.apply({ kind: 'put', entry: group('b') });
  fleet.apply({ kind: 'delete', key: groupKey('a') });
  fleet.apply({ kind: 'delete', key: workerKey('w') });
  fleet.apply({ kind: 'delete', key: leaderKey });
  expect(fleet.groups.map((record) => record.group)).toEqual(['b']);
  expect([fleet.models.length, fleet.workers.length, fleet.model('m')?.name, fleet.group('a')]).toEqual([
    1,
    0,
    'm',
    undefined,
  ]);
  fleet.apply({ kind: 'snapshot', revision: 9, entries: [group('c')] });
  expect([fleet.groups.map((record) => record.group), fleet.models, fleet.workers]).toEqual([['c'], [], []]);
});

test('a record that does not decode is reported, and the rest of the snapshot counts', () => {
  const fleet = new Fleet();
  const entries = [group('a'), broken(groupKey('b')), group('c')];
  expect(() => fleet.apply({ kind: 'snapshot', revision: 1, entries })).toThrow();
  expect(fleet.groups.map((record) => record.group)).toEqual(['a', 'c']);
  expect(() => fleet.apply({ kind: 'put', entry: broken(groupKey('a')) })).toThrow();
  expect(fleet.group('a')?.epoch).toBe(3);
});
