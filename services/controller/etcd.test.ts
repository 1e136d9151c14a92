/** The controller over a real etcd: etcd dies and comes back, a leader is cut off from it. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import type { Store } from '#platform/store.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { groupKey, leaderKey, modelKey, storeRoot } from '#proto/keys.ts';
import { GroupRecord, GroupState, LeaderRecord, ModelRecord } from '#proto/records.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { type ServedWorker, serveFakeWorker } from '../../test/fakes/fake-worker.ts';
import { startEtcd, type TestEtcd } from '../../test/harness/etcd.ts';
import { Relay } from '../../test/harness/relay.ts';
import { startController } from './service.ts';

const log = createLogger('silent');
const { GROUP_STATE_READY } = GroupState;
let etcd: TestEtcd;
let store: Store;
/** What a test started; ended in reverse order. */
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  etcd = await startEtcd();
});

afterAll(async () => {
  await etcd.server.stop();
});

beforeEach(async () => {
  store = await connect(etcd.url);
  for (const { key } of await store.list(storeRoot)) await store.delete(key);
});

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function connect(url: string): Promise<Store> {
  const connected = await connectEtcdStore({ urls: [url], log, requestTimeoutMs: 500 });
  ends.push(() => connected.close());
  return connected;
}

async function start(over: Store): Promise<void> {
  const controller = await startController({
    ...{ config: { leaseTtl: 1000, probe: 50 }, store: over, clock: systemClock, random: systemRandom, log },
  });
  ends.push(() => controller.stop());
}

async function startWorker(id: string, incarnation: string): Promise<ServedWorker> {
  const served = await serveFakeWorker({ log }, { id, incarnation, rankCapacity: 1 });
  ends.push(() => served.kill());
  await served.register(store);
  return served;
}

async function wish(groups: number): Promise<void> {
  const serving = { kvBlocks: 64, maxSequences: 8, stepTokens: 64, maxWaiting: 8 };
  const record = { name: 'm', packageDigest: 'd', packagePath: '/p', ranks: 1, groups, serving };
  await store.put(modelKey('m'), ModelRecord.encode(ModelRecord.fromPartial(record)).finish());
}

async function reaches(group: string, expected: Partial<GroupRecord>, limitMs = 10_000): Promise<void> {
  await eventually(async () => {
    const entry = await store.get(groupKey(group));
    expect(entry && GroupRecord.decode(entry.value)).toMatchObject(expected);
  }, limitMs);
}

async function leader(): Promise<string | undefined> {
  const entry = await store.get(leaderKey);
  return entry && LeaderRecord.decode(entry.value).controller;
}

test('etcd is killed and comes back: ready groups stay as they are, and the controller goes on', async () => {
  const first = await startWorker('w0', 'w0#1');
  await start(store);
  await wish(1);
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 1 });
  await etcd.server.kill();
  await first.worker.described(20);
  expect(first.worker.teams.get('m-0')).toMatchObject({ epoch: 1, ready: true });
  await etcd.server.start();
  await startWorker('w1', 'w1#1');
  await wish(2);
  await reaches('m-1', { state: GROUP_STATE_READY });
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 1 });
  expect(first.worker.teams.get('m-0')).toMatchObject({ epoch: 1, ready: true });
});

test('a leader that is cut off from etcd is followed by the other, and ends no team of its successor', async () => {
  const relay = await Relay.start(etcd.server.port);
  ends.push(() => relay.stop());
  const first = await startWorker('w0', 'w0#1');
  await start(await connect(`http://127.0.0.1:${relay.port}`));
  await wish(1);
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 1 });
  const cutOff = await leader();
  await start(store);
  relay.swallow();
  await eventually(async () => {
    expect(await leader()).toBeDefined();
    expect(await leader()).not.toBe(cutOff);
  }, 10_000);
  const second = await startWorker('w1', 'w1#1');
  await wish(2);
  await reaches('m-1', { state: GROUP_STATE_READY });
  relay.restore();
  await Promise.all([first.worker.described(20), second.worker.described(20)]);
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 1 });
  await reaches('m-1', { state: GROUP_STATE_READY, epoch: 1 });
  expect([first.worker.teams.size, second.worker.teams.size]).toEqual([1, 1]);
});
