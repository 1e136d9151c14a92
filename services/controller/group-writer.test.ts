import { beforeEach, expect, test } from 'vitest';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { epochKey, groupKey, leaderKey } from '#proto/keys.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';
import { ClusterView, encodeEpoch } from './cluster-view.ts';
import { GroupWriter } from './group-writer.ts';

const { GROUP_STATE_FORMING, GROUP_STATE_WARMING, GROUP_STATE_DEAD } = GroupState;
const record = (state: GroupState, epoch = 1): GroupRecord => GroupRecord.fromPartial({ group: 'g', epoch, state });
const forming = record(GROUP_STATE_FORMING);
const warming = record(GROUP_STATE_WARMING);

let store: EmbeddedStore;
/** Sees its own writes only, as if the watch were far behind. */
let view: ClusterView;
let writer: GroupWriter;

beforeEach(async () => {
  store = new EmbeddedStore();
  view = new ClusterView(() => {});
  const { revision } = await store.transact({ guards: [], writes: [{ put: leaderKey, value: new Uint8Array() }] });
  writer = new GroupWriter(store, view, { key: leaderKey, createRevision: revision });
});

const put = (key: string, value: Uint8Array): Promise<void> => store.put(key, value);
async function stored(): Promise<GroupRecord | undefined> {
  const entry = await store.get(groupKey('g'));
  return entry && GroupRecord.decode(entry.value);
}

test('a formation and its epoch are written together, and writes follow one another without the watch', async () => {
  expect(await writer.putFormation(forming, undefined)).toBe(true);
  expect(await writer.put(warming, forming)).toBe(true);
  expect(await stored()).toEqual(warming);
  const epoch = await store.get(epochKey('g'));
  expect(epoch?.value).toEqual(encodeEpoch('g', 1));
  expect(view.groups.get('g')).toBe(warming);
});

test('a record that another hand wrote meanwhile is left as it is', async () => {
  await writer.putFormation(forming, undefined);
  const other = record(GROUP_STATE_DEAD);
  await put(groupKey('g'), GroupRecord.encode(other).finish());
  expect(await writer.put(warming, forming)).toBe(false);
  expect(await writer.delete(forming)).toBe(false);
  expect(await stored()).toEqual(other);
});

test('a record that another hand made is not taken for absent', async () => {
  await put(groupKey('g'), GroupRecord.encode(forming).finish());
  expect(await writer.put(record(GROUP_STATE_DEAD), undefined)).toBe(false);
});

test('no formation starts at an epoch that was used meanwhile', async () => {
  await put(epochKey('g'), encodeEpoch('g', 1));
  expect(await writer.putFormation(forming, undefined)).toBe(false);
  expect(await stored()).toBeUndefined();
  view.apply({ kind: 'snapshot', revision: 0, entries: await store.list(epochKey('')) });
  expect(await writer.putFormation(forming, undefined)).toBe(false);
  expect(await writer.putFormation(record(GROUP_STATE_FORMING, 2), undefined)).toBe(true);
});

test('what was planned on an older state of the group is not written on a newer one', async () => {
  await writer.putFormation(forming, undefined);
  await writer.put(warming, forming);
  const late = record(GROUP_STATE_DEAD);
  expect(await writer.put(late, forming)).toBe(false);
  expect(await writer.delete(forming)).toBe(false);
  expect(await writer.putFormation(record(GROUP_STATE_FORMING, 2), undefined)).toBe(false);
  expect(await stored()).toEqual(warming);
});

test('a deleted record leaves its epoch', async () => {
  await writer.putFormation(forming, undefined);
  expect(await writer.delete(forming)).toBe(true);
  expect([await stored(), (await store.get(epochKey('g')))?.value]).toEqual([undefined, encodeEpoch('g', 1)]);
});
