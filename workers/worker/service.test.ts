import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { FormStage } from '#proto/control.ts';
import { FinishReason } from '#proto/inference.ts';
import { groupKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, WorkerRecord } from '#proto/records.ts';
import { FakeTeams } from '../../test/fakes/fake-team.ts';
import { placeGroup, ScriptedController } from '../../test/fakes/scripted-controller.ts';
import { ScriptedRouter } from '../../test/fakes/scripted-router.ts';
import type { WorkerConfig } from './config.ts';
import { type RunningWorker, startWorker } from './service.ts';

const manifest = '{"format":1}';
const config: WorkerConfig = {
  id: 'w0',
  listen: '127.0.0.1:0',
  rankListen: '127.0.0.1:0',
  advertiseHost: undefined,
  rankCapacity: 2,
  memory: 1,
  leaseTtl: 1000,
  drain: 60_000,
};

let folder: string;
let store: EmbeddedStore;
let bus: EmbeddedBus;
let teams: FakeTeams;
let worker: RunningWorker;
let controller: ScriptedController;
let routers: ScriptedRouter[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'worker-'));
  writeFileSync(join(folder, 'manifest.json'), manifest);
  store = new EmbeddedStore();
  bus = new EmbeddedBus();
  teams = new FakeTeams();
  routers = [];
  worker = await start();
  controller = new ScriptedController(worker.address);
});

afterEach(async () => {
  for (const router of routers) router.break();
  controller.close();
  await worker.stop();
  await bus.close();
  await store.close();
  rmSync(folder, { recursive: true });
});

function start(changes: Partial<WorkerConfig> = {}): Promise<RunningWorker> {
  return startWorker({
    config: { ...config, ...changes },
    store,
    bus,
    clock: systemClock,
    random: systemRandom,
    log: createLogger('silent'),
    openTeams: async () => teams,
  });
}

function recordOf(epoch: number, changes: Partial<GroupRecord> = {}): GroupRecord {
  const packageDigest = createHash('sha256').update(manifest).digest('hex');
  return placeGroup(epoch, [worker.record, worker.record], { packagePath: folder, packageDigest, ...changes });
}

const form: ScriptedController['form'] = (...call) => controller.form(...call);
const describe = () => controller.describe();
const disband = (epoch: number, group = 'g') => controller.disband(group, epoch);

async function openSession(incarnation: string, epoch = 1): Promise<ScriptedRouter> {
  const router = new ScriptedRouter(worker.address, bus, incarnation);
  routers.push(router);
  router.hello('g', epoch);
  await router.welcome();
  return router;
}

const finish = { finishReason: FinishReason.FINISH_REASON_STOP };

test('forming tells every stage, ends warm, and hands the team its ranks, settings and secret', async () => {
  expect(await form(recordOf(1))).toEqual([
    FormStage.FORM_STAGE_VERIFYING,
    FormStage.FORM_STAGE_LOADING,
    FormStage.FORM_STAGE_JOINING,
    FormStage.FORM_STAGE_WARM,
  ]);
  expect(teams.last.formation).toMatchObject({ group: 'g', epoch: 1, localRanks: [0, 1], packagePath: folder });
  expect(teams.last.formation.secret).toEqual(Buffer.from('for one epoch'));
  const { worker: self, groups } = await describe();
  expect(self).toEqual(worker.record);
  expect(groups).toMatchObject([{ group: 'g', epoch: 1, ranks: [0, 1], leader: true, ready: true }]);
});

test('describing answers while the group loads, and says that it is not ready', async () => {
  teams.warmAtOnce = false;
  let answer: Promise<unknown> | undefined;
  await form(recordOf(1), undefined, ({ stage }) => {
    if (stage === FormStage.FORM_STAGE_JOINING) answer = describe().finally(() => teams.last.warm());
  });
  expect(await answer).toMatchObject({ groups: [{ group: 'g', epoch: 1, ready: false }] });
});

test('an epoch that is not above the last one is refused, and what is held stays', async () => {
  await form(recordOf(5));
  for (const epoch of [4, 5]) await expect(form(recordOf(epoch))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  expect((await describe()).groups).toMatchObject([{ epoch: 5, ready: true }]);
  expect(teams.teams).toHaveLength(1);
});

test('a newer epoch ends the older team first', async () => {
  await form(recordOf(1));
  const threads = Promise.withResolvers<void>();
  const older = teams.last;
  older.threadsEnd = threads.promise;
  const formed = form(recordOf(2), undefined, ({ stage }) => {
    if (stage === FormStage.FORM_STAGE_VERIFYING) expect.soft(older.stopCount).toBe(1);
  });
  const router = new ScriptedRouter(worker.address, bus, 'late');
  routers.push(router);
  while (older.stopCount === 0) await describe();
  expect(teams.teams).toHaveLength(1);
  router.hello('g', 1);
  await router.until(() => router.ended !== undefined);
  expect(router.ended?.code).toBe('STALE_EPOCH');
  threads.resolve();
  await formed;
  expect((await describe()).groups).toMatchObject([{ epoch: 2, ready: true }]);
});

test('a package with another digest, and none at all, are refused before any rank starts', async () => {
  await expect(form(recordOf(1, { packageDigest: 'f00d' }))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  await expect(form(recordOf(2, { packagePath: '/nowhere' }))).rejects.toMatchObject({ code: 'NOT_A_PACKAGE' });
  expect([teams.teams.length, (await describe()).groups]).toEqual([0, []]);
});

test('a placement of an earlier incarnation, of no rank here, or of more ranks than free is refused', async () => {
  const record = recordOf(1);
  const elsewhere = (changes: object) => ({ ...record, ranks: record.ranks.map((rank) => ({ ...rank, ...changes })) });
  await expect(form(elsewhere({ incarnation: 'old' }))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  await expect(form(elsewhere({ worker: 'w9' }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await form(recordOf(1));
  await expect(form(recordOf(1, { group: 'h' }))).rejects.toMatchObject({ code: 'NO_ROOM' });
});

test('cancelling the call before the group is warm ends the formation', async () => {
  teams.warmAtOnce = false;
  const cancel = new AbortController();
  const formed = form(recordOf(1), cancel.signal, ({ stage }) => {
    if (stage === FormStage.FORM_STAGE_JOINING) cancel.abort();
  });
  await expect(formed).rejects.toMatchObject({ code: 'CANCELLED' });
  while ((await describe()).groups.length > 0);
  expect(teams.last.stopCount).toBe(1);
});

test('disbanding ends the epoch named and older ones, is idempotent, and bars the epoch for good', async () => {
  await form(recordOf(2));
  await disband(1);
  expect((await describe()).groups).toHaveLength(1);
  await disband(3);
  await disband(3);
  await disband(9, 'unheard of');
  expect([(await describe()).groups.length, teams.last.stopCount]).toEqual([0, 1]);
  await expect(form(recordOf(3))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
});

test('a session begins only with a Hello for the group and epoch that are led here', async () => {
  await form(recordOf(2));
  for (const [group, epoch] of [
    ['g', 1],
    ['g', 3],
    ['h', 2],
  ] as const) {
    const router = new ScriptedRouter(worker.address, bus, 'r');
    routers.push(router);
    router.hello(group, epoch);
    await router.until(() => router.ended !== undefined);
    expect(router.ended?.code).toBe('STALE_EPOCH');
  }
  const router = new ScriptedRouter(worker.address, bus, 'r');
  routers.push(router);
  router.submit({ requestId: 'x', epoch: 2 });
  await router.until(() => router.ended !== undefined);
  expect(router.ended?.code).toBe('INVALID_ARGUMENT');
});

test('a request goes in over the session and its tokens come out over the bus', async () => {
  await form(recordOf(1));
  const router = await openSession('r');
  router.submit({ requestId: 'x', epoch: 1, prompt: [3, 4] });
  const team = teams.last;
  await team.commandsAtLeast(1);
  const { owner, submit } = team.submits[0]!;
  expect(submit).toMatchObject({ requestId: 'x', prompt: [3, 4] });
  const entry = { requestId: 'x', attempt: 1 };
  team.report({ answers: [{ owner, ...entry }], status: { running: 1 } });
  team.report({ step: 1, entries: [{ owner, entry: { ...entry, tokenIds: [11] } }] });
  team.report({ step: 2, entries: [{ owner, entry: { ...entry, firstPosition: 1, tokenIds: [12], ...finish } }] });
  await router.until(() => router.entries.length === 2 && router.statuses.at(-1)?.lastFrame === 2);
  expect(router.accepted).toMatchObject([{ requestId: 'x', attempt: 1 }]);
  expect(router.entries.flatMap(({ tokenIds }) => tokenIds)).toEqual([11, 12]);
  expect(router.statuses.at(-1)).toMatchObject({ epoch: 1, lastFrame: 2, engine: { running: 1 } });
  router.send({ $case: 'cancel', value: { requestId: 'x', attempt: 1, choices: [] } });
  router.submit({ requestId: 'y', epoch: 1 });
  await team.commandsAtLeast(2);
  expect(team.cancelled).toEqual([]);
});

test('a team that exits ends every request with an error entry and the session with UNAVAILABLE status', async () => {
  await form(recordOf(1));
  const router = await openSession('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await teams.last.commandsAtLeast(1);
  teams.last.exit('rank 1 exited with code 139');
  await router.until(() => router.entries.length === 1 && router.ended !== undefined);
  expect(router.entries).toMatchObject([{ requestId: 'x', errorCode: 'RANK_FAILED', firstPosition: 0 }]);
  expect(router.statuses.at(-1)?.lastFrame).toBe(1);
  expect(router.ended).toMatchObject({ code: 'RANK_FAILED', message: 'rank 1 exited with code 139' });
  expect([(await describe()).groups, teams.last.stopCount]).toEqual([[], 1]);
  await form(recordOf(2));
  expect((await describe()).groups).toMatchObject([{ epoch: 2, ready: true }]);
});

test('a router that goes away has its sequences cancelled', async () => {
  await form(recordOf(1));
  const router = await openSession('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await teams.last.commandsAtLeast(1);
  router.break();
  await teams.last.commandsAtLeast(2);
  expect(teams.last.cancelled).toEqual(['x']);
});

test('a lost lease is registered anew with the same incarnation, and the group is held on', async () => {
  await form(recordOf(1));
  const registered = Promise.withResolvers<WorkerRecord>();
  let deleted = false;
  store.watch(workerKey('w0'), (event) => {
    if (event.kind === 'delete') deleted = true;
    if (event.kind === 'put' && deleted) registered.resolve(WorkerRecord.decode(event.entry.value));
  });
  store.revokeLease('1');
  expect(await registered.promise).toEqual(worker.record);
  expect((await describe()).groups).toMatchObject([{ epoch: 1, ready: true }]);
});

test('a placement at a higher epoch ends the team that it left behind', async () => {
  await form(recordOf(1));
  const router = await openSession('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await teams.last.commandsAtLeast(1);
  const newer = recordOf(2, { state: GroupState.GROUP_STATE_FORMING });
  await store.put(groupKey('g'), GroupRecord.encode(newer).finish());
  await router.until(() => router.ended !== undefined);
  expect([router.ended?.code, router.entries[0]?.errorCode]).toEqual(['STALE_EPOCH', 'STALE_EPOCH']);
  expect((await describe()).groups).toEqual([]);
});

test('a drain refuses work, waits for what runs and leaves the store; stopping ends everything', async () => {
  await form(recordOf(1));
  const router = await openSession('r');
  router.submit({ requestId: 'x', epoch: 1 });
  const team = teams.last;
  await team.commandsAtLeast(1);
  const drained = worker.drain();
  while (await store.get(workerKey('w0')));
  router.submit({ requestId: 'y', epoch: 1 });
  await router.until(() => router.refused.length > 0);
  expect(router.refused).toMatchObject([{ requestId: 'y', code: 'NO_ROOM' }]);
  await expect(form(recordOf(2))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  const { owner } = team.submits[0]!;
  team.report({ step: 1, entries: [{ owner, entry: { requestId: 'x', attempt: 1, tokenIds: [1], ...finish } }] });
  await drained;
  await worker.stop();
  await router.until(() => router.ended !== undefined);
  expect([router.ended?.code, team.stopCount, teams.closed]).toEqual(['UNAVAILABLE', 1, true]);
});

test('a port that is taken stops the start with PORT_IN_USE and leaves nothing behind', async () => {
  teams.closed = false;
  await expect(start({ id: 'w1', listen: worker.address })).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  expect([await store.get(workerKey('w1')), teams.closed]).toEqual([undefined, true]);
});
