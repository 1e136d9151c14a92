import { afterEach, beforeEach, expect, test } from 'vitest';
import { Metrics } from '#platform/metrics.ts';
import { createRpcClient } from '#platform/rpc.ts';
import { FinishReason } from '#proto/inference.ts';
import { groupKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, WorkerRecord } from '#proto/records.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { placeGroup } from '../../test/fakes/scripted-controller.ts';
import { WorkerRig } from '../../test/fakes/worker-rig.ts';
import { handoverMs } from './limits.ts';

const finish = { finishReason: FinishReason.FINISH_REASON_STOP };

let rig: WorkerRig;

beforeEach(async () => {
  rig = await WorkerRig.start();
});

afterEach(() => rig.stop());

const write = (record: GroupRecord) => rig.store.put(groupKey('g'), GroupRecord.encode(record).finish());

/** What the standard health service answers: 1 SERVING, 2 NOT_SERVING. */
async function healthOf(address: string): Promise<number> {
  const client = createRpcClient(address);
  try {
    return await client.unary(
      {
        path: '/grpc.health.v1.Health/Check',
        requestStream: false,
        responseStream: false,
        requestSerialize: () => Buffer.alloc(0),
        requestDeserialize: () => undefined,
        responseSerialize: () => Buffer.alloc(0),
        responseDeserialize: (bytes) => bytes[1] ?? 0,
      },
      undefined,
      { timeoutMs: 5000 },
    );
  } finally {
    client.close();
  }
}

test('a lost lease is registered anew with the same incarnation, and the group is held on', async () => {
  await rig.form(rig.place(1));
  const registered = Promise.withResolvers<WorkerRecord>();
  let deleted = false;
  rig.store.watch(workerKey('w0'), (event) => {
    if (event.kind === 'delete') deleted = true;
    if (event.kind === 'put' && deleted) registered.resolve(WorkerRecord.decode(event.entry.value));
  });
  rig.embeddedStore.revokeLease('1');
  expect(await registered.promise).toEqual(rig.worker.record);
  expect(await rig.held()).toMatchObject([{ epoch: 1, ready: true }]);
});

test('a placement at a higher epoch ends the team that it left behind', async () => {
  await rig.form(rig.place(1));
  const router = await rig.session('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await rig.teams.last.commandsAtLeast(1);
  const newer = rig.place(2, { state: GroupState.GROUP_STATE_FORMING });
  await rig.store.put(groupKey('g'), GroupRecord.encode(newer).finish());
  await router.until(() => router.ended !== undefined);
  expect([router.ended?.code, router.entries[0]?.errorCode]).toEqual(['STALE_EPOCH', 'STALE_EPOCH']);
  expect(await rig.held()).toEqual([]);
});

test('a placement that is dead ends the team, and an older one says nothing', async () => {
  await rig.form(rig.place(2));
  await write(rig.place(1, { state: GroupState.GROUP_STATE_DEAD }));
  await write(rig.place(2, { state: GroupState.GROUP_STATE_READY }));
  expect(await rig.held()).toMatchObject([{ epoch: 2, ready: true }]);
  await write(rig.place(2, { state: GroupState.GROUP_STATE_DEAD }));
  while ((await rig.held()).length > 0);
  expect(rig.teams.last.stopCount).toBe(1);
});

test('what the placement said while the store was away counts when it is back', async () => {
  await rig.form(rig.place(1));
  rig.store.away = true;
  await rig.embeddedStore.put(groupKey('g'), GroupRecord.encode(rig.place(2)).finish());
  expect(await rig.held()).toMatchObject([{ epoch: 1, ready: true }]);
  rig.store.away = false;
  while ((await rig.held()).length > 0);
  expect(rig.teams.last.stopCount).toBe(1);
});

async function registered(id = 'w0'): Promise<WorkerRecord | undefined> {
  const entry = await rig.store.get(workerKey(id));
  return entry && WorkerRecord.decode(entry.value);
}

test('a drain refuses work and waits for what runs; the store knows at once, and the lease goes last', async () => {
  await rig.form(rig.place(1));
  const router = await rig.session('r');
  router.submit({ requestId: 'x', epoch: 1 });
  const team = rig.teams.last;
  await team.commandsAtLeast(1);
  expect(await healthOf(rig.worker.address)).toBe(1);
  const drained = rig.worker.drain();
  await eventually(async () => expect((await registered())?.drainMs).toBe(60_000));
  router.submit({ requestId: 'y', epoch: 1 });
  await router.until(() => router.refused.length > 0);
  expect(router.refused).toMatchObject([{ requestId: 'y', code: 'NO_ROOM' }]);
  await expect(rig.form(rig.place(2))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(await healthOf(rig.worker.address)).toBe(2);
  const { owner } = team.submits[0]!;
  team.report({ step: 1, entries: [{ owner, entry: { requestId: 'x', attempt: 1, tokenIds: [1], ...finish } }] });
  router.send({ $case: 'acknowledge', value: { requestId: 'x', attempt: 1 } });
  await drained;
  expect(await registered()).toBeDefined();
  await rig.worker.stop();
  await router.until(() => router.ended !== undefined);
  expect([router.ended?.code, team.stopCount, rig.teams.closed]).toEqual(['UNAVAILABLE', 1, true]);
  expect(await registered()).toBeUndefined();
});

test('a worker that was told to drain holds what it has until it is ended, and takes work again when that is undone', async () => {
  await rig.form(rig.place(1));
  await rig.controller.drain({ limitMs: 700 });
  await eventually(async () => expect((await registered())?.drainMs).toBe(700));
  expect(await rig.held()).toMatchObject([{ epoch: 1, ready: true, drainMs: 700 }]);
  await expect(rig.form(rig.place(2))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await rig.controller.drain({ undo: true });
  await eventually(async () => expect(await registered()).toEqual(rig.worker.record));
  expect(rig.worker.record.drainMs).toBeUndefined();
  await rig.form(rig.place(2));
});

test('a group that is told to drain takes no request, and its leader says so; other epochs are none of its business', async () => {
  await rig.form(rig.place(1));
  await rig.controller.drain({ group: 'g', epoch: 1, limitMs: 500 });
  expect(await rig.held()).toMatchObject([{ epoch: 1, ready: true, drainMs: 500 }]);
  const router = await rig.session('r');
  router.submit({ requestId: 'y', epoch: 1 });
  await router.until(() => router.refused.length > 0);
  expect(router.refused).toMatchObject([{ requestId: 'y', code: 'NO_ROOM' }]);
  await expect(rig.controller.drain({ group: 'g', epoch: 2 })).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  expect((await registered())?.drainMs).toBeUndefined();
});

test('a drain that the store does not hear of is carried out all the same, and written when it is back', async () => {
  await rig.form(rig.place(1));
  rig.store.away = true;
  await rig.worker.drain();
  rig.store.away = false;
  await eventually(async () => expect((await registered())?.drainMs).toBe(60_000));
});

test('a drain ends what still forms, holds what is led elsewhere, and waits for the controller only so long', async () => {
  const clock = new ManualClock();
  const timed = await WorkerRig.start({ clock, config: { rankCapacity: 4, drain: 3000 } });
  try {
    const elsewhere = { ...timed.worker.record, id: 'w9' };
    const other = placeGroup(1, [elsewhere, timed.worker.record], {});
    await timed.form(timed.place(1));
    const led = timed.teams.last;
    await timed.form(timed.place(1, { group: 'h', ranks: other.ranks }));
    const followed = timed.teams.last;
    timed.teams.warmAtOnce = false;
    const forming = timed.form(timed.place(1, { group: 'i', ranks: other.ranks }));
    while (timed.teams.teams.length < 3) await timed.held();
    const router = await timed.session('r');
    router.submit({ requestId: 'x', epoch: 1 });
    await led.commandsAtLeast(1);
    const drained = timed.worker.drain();
    await expect(forming).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect([led.stopCount, followed.stopCount]).toEqual([0, 0]);
    let isOver = false;
    void drained.then(() => {
      isOver = true;
    });
    clock.advance(3000);
    await timed.controller.disband('h', 1);
    expect([isOver, followed.stopCount]).toEqual([false, 1]);
    clock.advance(handoverMs);
    await drained;
  } finally {
    await timed.stop();
  }
});

test('a port that is taken stops the start with PORT_IN_USE and leaves nothing behind', async () => {
  rig.teams.closed = false;
  await expect(rig.startWorker({ config: { id: 'w1', listen: rig.worker.address } })).rejects.toMatchObject({
    code: 'PORT_IN_USE',
  });
  expect([await rig.store.get(workerKey('w1')), rig.teams.closed]).toEqual([undefined, true]);
});

test('a store that is away stops the start with STORE_UNAVAILABLE', async () => {
  rig.store.away = true;
  await expect(rig.startWorker({ config: { id: 'w1' } })).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  rig.store.away = false;
});

test('a worker registers under the host by which others reach it', async () => {
  const { record, address } = await rig.startWorker({ config: { id: 'w1', advertiseHost: 'w1.pods' } });
  const entry = await rig.store.get(workerKey('w1'));
  expect(WorkerRecord.decode(entry!.value)).toEqual(record);
  expect(address).toMatch(/^w1\.pods:\d+$/);
  expect(record.rankAddress).toBe('w1.pods:7');
});

test('metrics count tokens and steps and show the load', async () => {
  const metrics = new Metrics('trireme');
  const measured = await WorkerRig.start({ metrics });
  try {
    await measured.form(measured.place(1));
    const router = await measured.session('r');
    router.submit({ requestId: 'x', epoch: 1 });
    const team = measured.teams.last;
    await team.commandsAtLeast(1);
    const entry = { requestId: 'x', attempt: 1 };
    const { owner } = team.submits[0]!;
    team.report({ status: { running: 1, waiting: 2, freeBlocks: 5 } });
    team.report({ step: 1, entries: [{ owner, entry: { ...entry, tokenIds: [1, 2] } }] });
    team.report({ step: 2, entries: [{ owner, entry: { ...entry, firstPosition: 2, tokenIds: [3], ...finish } }] });
    const lines = (await metrics.text()).split('\n').filter((line) => line.startsWith('trireme_worker_'));
    for (const line of [
      'trireme_worker_tokens_total 3',
      'trireme_worker_steps_total 2',
      'trireme_worker_step_sequences_sum 2',
      'trireme_worker_running_sequences 1',
      'trireme_worker_waiting_sequences 2',
      'trireme_worker_free_blocks 5',
      'trireme_worker_sessions 1',
      'trireme_worker_unacknowledged_attempts 1',
    ]) {
      expect(lines).toContain(line);
    }
  } finally {
    await measured.stop();
  }
});
