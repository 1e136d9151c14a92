/** The controller as it is started, over real gRPC to fake workers, in real time. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { createRpcClient } from '#platform/rpc.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { groupKey, leaderKey, modelKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, LeaderRecord, ModelRecord } from '#proto/records.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { type ServedWorker, serveFakeWorker } from '../../test/fakes/fake-worker.ts';
import type { ControllerConfig } from './config.ts';
import { type RunningController, startController } from './service.ts';

const log = createLogger('silent');
const { GROUP_STATE_READY, GROUP_STATE_DEAD } = GroupState;
let store: EmbeddedStore;
let history: GroupRecord[];
const controllers: RunningController[] = [];
const workers: ServedWorker[] = [];

beforeEach(() => {
  store = new EmbeddedStore();
  history = [];
  store.watch(groupKey(''), (event) => {
    if (event.kind === 'put') history.push(GroupRecord.decode(event.entry.value));
  });
});

afterEach(async () => {
  for (const controller of controllers.splice(0)) await controller.stop();
  for (const worker of workers.splice(0)) await worker.kill();
});

async function start(config: Partial<ControllerConfig> = {}): Promise<RunningController> {
  const controller = await startController({ config, store, clock: systemClock, random: systemRandom, log });
  controllers.push(controller);
  return controller;
}

async function startWorker(id: string, incarnation: string, listen?: string): Promise<ServedWorker> {
  const served = await serveFakeWorker({ log, ...(listen ? { listen } : {}) }, { id, incarnation, rankCapacity: 1 });
  workers.push(served);
  await served.register(store);
  return served;
}

async function wish(ranks: number, groups: number): Promise<void> {
  const serving = { kvBlocks: 64, maxSequences: 8, stepTokens: 64, maxWaiting: 8 };
  const record = { name: 'm', packageDigest: 'd', packagePath: '/p', ranks, groups, serving };
  await store.put(modelKey('m'), ModelRecord.encode(ModelRecord.fromPartial(record)).finish());
}

const latest = (group: string): GroupRecord | undefined => history.filter((record) => record.group === group).at(-1);

async function reaches(group: string, expected: Partial<GroupRecord>, limitMs = 5000): Promise<void> {
  await eventually(() => expect(latest(group)).toMatchObject(expected), limitMs);
}

test('two groups over two workers each become ready; one worker dies and only its group re-forms when it is back', async () => {
  const served = await Promise.all(['w0', 'w1', 'w2', 'w3'].map((id) => startWorker(id, `${id}#1`)));
  await start();
  await wish(2, 2);
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 1 });
  await reaches('m-1', { state: GROUP_STATE_READY, epoch: 1 });
  const secrets = served.map(({ worker }) => Buffer.from([...worker.teams.values()][0]?.secret ?? []).toString('hex'));
  expect(new Set(secrets).size).toBe(2);
  expect(secrets.every((secret) => secret.length === 64)).toBe(true);

  const startMs = performance.now();
  await served[1]?.kill();
  await reaches('m-0', { state: GROUP_STATE_DEAD }, 2000);
  expect(performance.now() - startMs).toBeLessThan(2000);
  expect(history.map(({ failure }) => failure)).toContain('worker w1 is gone');
  await eventually(() => expect(served[0]?.worker.teams.size).toBe(0));

  await startWorker('w1', 'w1#2', served[1]?.worker.record.address);
  await reaches('m-0', { state: GROUP_STATE_READY, epoch: 2 });
  expect(history.filter(({ group }) => group === 'm-1')).toHaveLength(3);
});

test('a formation that fails names worker and cause, ends on the other worker, and succeeds when the cause is gone', async () => {
  const good = await startWorker('w0', 'w0#1');
  const bad = await startWorker('w1', 'w1#1');
  bad.worker.behaviour = 'fail';
  await start({ firstRetry: 50 });
  await wish(2, 1);
  await reaches('m-0', {
    state: GROUP_STATE_DEAD,
    failure: 'DIGEST_MISMATCH: worker w1: the package is not what it should be',
  });
  bad.worker.behaviour = 'warm';
  await reaches('m-0', { state: GROUP_STATE_READY });
  expect(good.worker.teams.get('m-0')?.epoch).toBe(latest('m-0')?.epoch);
});

test('a formation that hangs is given up after the stall limit and ended at the worker', async () => {
  const hung = await startWorker('w0', 'w0#1');
  hung.worker.behaviour = 'hang-warming';
  await start({ stall: 300 });
  await wish(1, 1);
  await eventually(() =>
    expect(history.map(({ failure }) => failure).join()).toMatch(/DEADLINE_EXCEEDED: no progress/),
  );
  hung.worker.behaviour = 'warm';
  await reaches('m-0', { state: GROUP_STATE_READY });
});

test('a lost lease alone ends nothing while the worker answers', async () => {
  const served = await startWorker('w0', 'w0#1');
  await start({ probe: 20 });
  await wish(1, 1);
  await reaches('m-0', { state: GROUP_STATE_READY });
  await store.delete(workerKey('w0'));
  await served.worker.described(20);
  expect(latest('m-0')).toMatchObject({ state: GROUP_STATE_READY, epoch: 1 });
});

test('when the leader stops, the other controller leads at once and leaves ready groups as they are', async () => {
  const served = await startWorker('w0', 'w0#1');
  const first = await start();
  await eventually(async () => expect(await store.get(leaderKey)).toBeDefined());
  await start();
  await wish(1, 1);
  await reaches('m-0', { state: GROUP_STATE_READY });
  const firstLeader = LeaderRecord.decode((await store.get(leaderKey))?.value ?? new Uint8Array()).controller;
  await first.stop();
  await eventually(async () => {
    const entry = await store.get(leaderKey);
    expect(entry && LeaderRecord.decode(entry.value).controller).toMatch(/^[0-9a-f]{16}$/);
    expect(entry && LeaderRecord.decode(entry.value).controller).not.toBe(firstLeader);
  });
  await served.worker.described(2);
  expect(history).toHaveLength(3);
});

test('with a listen address the controller serves, and without one it has none', async () => {
  const { address } = await start({ listen: '127.0.0.1:0' });
  const client = createRpcClient(address ?? '');
  await client.waitForReady(5000);
  client.close();
  expect((await start()).address).toBeUndefined();
});
