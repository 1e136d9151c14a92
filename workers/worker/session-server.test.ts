import { afterEach, beforeEach, expect, test } from 'vitest';
import { FinishReason } from '#proto/inference.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import type { ScriptedRouter } from '../../test/fakes/scripted-router.ts';
import { WorkerRig } from '../../test/fakes/worker-rig.ts';
import { defaultLimits } from './limits.ts';

const finish = { finishReason: FinishReason.FINISH_REASON_STOP };

let rig: WorkerRig;

beforeEach(async () => {
  rig = await WorkerRig.start();
});

afterEach(() => rig.stop());

test('a session begins only with a Hello for the group and epoch that are led here', async () => {
  await rig.form(rig.place(2));
  for (const [group, epoch] of [
    ['g', 1],
    ['g', 3],
    ['h', 2],
  ] as const) {
    const router = rig.router('r');
    router.hello(group, epoch);
    await router.until(() => router.ended !== undefined);
    expect(router.ended?.code).toBe('STALE_EPOCH');
  }
  for (const open of [
    (router: ScriptedRouter) => router.submit({ requestId: 'x', epoch: 2 }),
    (router: ScriptedRouter) => router.send({ $case: 'hello', value: { routerIncarnation: '', group: 'g', epoch: 2 } }),
  ]) {
    const router = rig.router('r');
    open(router);
    await router.until(() => router.ended !== undefined);
    expect(router.ended?.code).toBe('INVALID_ARGUMENT');
  }
});

test('a request goes in over the session and its tokens come out over the bus', async () => {
  await rig.form(rig.place(1));
  const router = await rig.session('r');
  router.submit({ requestId: 'x', epoch: 1, prompt: [3, 4] });
  const team = rig.teams.last;
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
  expect(await rig.held()).toMatchObject([{ status: { running: 1 } }]);
  router.send({ $case: 'cancel', value: { requestId: 'x', attempt: 1, choices: [] } });
  router.submit({ requestId: 'y', epoch: 1 });
  await team.commandsAtLeast(2);
  expect(team.cancelled).toEqual([]);
});

test('a team that exits ends every request with an error entry and the session with UNAVAILABLE status', async () => {
  await rig.form(rig.place(1));
  const router = await rig.session('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await rig.teams.last.commandsAtLeast(1);
  rig.teams.last.exit('rank 1 exited with code 139');
  await router.until(() => router.entries.length === 1 && router.ended !== undefined);
  expect(router.entries).toMatchObject([{ requestId: 'x', errorCode: 'RANK_FAILED', firstPosition: 0 }]);
  expect(router.statuses.at(-1)?.lastFrame).toBe(1);
  expect(router.ended).toMatchObject({ code: 'RANK_FAILED', message: 'rank 1 exited with code 139' });
  expect([await rig.held(), rig.teams.last.stopCount]).toEqual([[], 1]);
  await rig.form(rig.place(2));
  expect(await rig.held()).toMatchObject([{ epoch: 2, ready: true }]);
});

test('a router that goes away has its sequences cancelled', async () => {
  await rig.form(rig.place(1));
  const router = await rig.session('r');
  router.submit({ requestId: 'x', epoch: 1 });
  await rig.teams.last.commandsAtLeast(1);
  router.break();
  await rig.teams.last.commandsAtLeast(2);
  expect(rig.teams.last.cancelled).toEqual(['x']);
});

test('a session without a Hello ends in time, and after one nobody waits any more', async () => {
  const clock = new ManualClock();
  const timed = await WorkerRig.start({ clock });
  try {
    await timed.form(timed.place(1));
    const timersBefore = clock.timerCount;
    const silent = timed.router('silent');
    while (clock.timerCount === timersBefore) await timed.held();
    clock.advance(defaultLimits.helloTimeoutMs);
    await silent.until(() => silent.ended !== undefined);
    expect(silent.ended?.code).toBe('DEADLINE_EXCEEDED');
    await timed.session('r');
    expect(clock.timerCount).toBe(timersBefore);
  } finally {
    await timed.stop();
  }
});
