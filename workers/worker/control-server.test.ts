import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FormProgress, FormStage } from '#proto/control.ts';
import { WorkerRig } from '../../test/fakes/worker-rig.ts';
import { progressTo } from './control-server.ts';

let rig: WorkerRig;

beforeEach(async () => {
  rig = await WorkerRig.start();
});

afterEach(() => rig.stop());

test('forming tells every stage, ends warm, and hands the team its ranks, settings and secret', async () => {
  expect(await rig.form(rig.place(1))).toEqual([
    FormStage.FORM_STAGE_VERIFYING,
    FormStage.FORM_STAGE_LOADING,
    FormStage.FORM_STAGE_JOINING,
    FormStage.FORM_STAGE_WARM,
  ]);
  expect(rig.teams.last.formation).toMatchObject({ group: 'g', epoch: 1, localRanks: [0, 1], packagePath: rig.folder });
  expect(rig.teams.last.formation.secret).toEqual(Buffer.from('for one epoch'));
  const { worker: self, groups } = await rig.controller.describe();
  expect(self).toEqual(rig.worker.record);
  expect(groups).toMatchObject([{ group: 'g', epoch: 1, ranks: [0, 1], leader: true, ready: true }]);
});

test('describing answers while the group loads, and says that it is not ready', async () => {
  rig.teams.warmAtOnce = false;
  let answer: Promise<unknown> | undefined;
  await rig.form(rig.place(1), undefined, ({ stage }) => {
    if (stage === FormStage.FORM_STAGE_JOINING) answer = rig.controller.describe().finally(() => rig.teams.last.warm());
  });
  expect(await answer).toMatchObject({ groups: [{ group: 'g', epoch: 1, ready: false }] });
});

test('an epoch that is not above the last one is refused, and what is held stays', async () => {
  await rig.form(rig.place(5));
  for (const epoch of [4, 5]) await expect(rig.form(rig.place(epoch))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  expect(await rig.held()).toMatchObject([{ epoch: 5, ready: true }]);
  expect(rig.teams.teams).toHaveLength(1);
});

test('a newer epoch waits until the threads of the older team have ended', async () => {
  await rig.form(rig.place(1));
  const threads = Promise.withResolvers<void>();
  const older = rig.teams.last;
  older.threadsEnd = threads.promise;
  let ended = false;
  const endedAtStage: boolean[] = [];
  const formed = rig.form(rig.place(2), undefined, () => endedAtStage.push(ended));
  while (older.stopCount === 0) await rig.held();
  const late = rig.router('late');
  late.hello('g', 1);
  await late.until(() => late.ended !== undefined);
  expect(late.ended?.code).toBe('STALE_EPOCH');
  expect(await rig.held()).toMatchObject([{ epoch: 2, ready: false }]);
  ended = true;
  threads.resolve();
  await formed;
  expect(endedAtStage).not.toContain(false);
  expect(await rig.held()).toMatchObject([{ epoch: 2, ready: true }]);
});

test('a newer epoch takes the place of a formation under way', async () => {
  rig.teams.warmAtOnce = false;
  let newer: Promise<FormStage[]> | undefined;
  const older = rig.form(rig.place(1), undefined, ({ stage }) => {
    if (stage !== FormStage.FORM_STAGE_JOINING) return;
    rig.teams.warmAtOnce = true;
    newer = rig.form(rig.place(2));
  });
  await expect(older).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  await newer;
  expect(await rig.held()).toMatchObject([{ epoch: 2, ready: true }]);
});

test('a package with another digest, and none at all, are refused before any rank starts', async () => {
  await expect(rig.form(rig.place(1, { packageDigest: 'f00d' }))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  await expect(rig.form(rig.place(2, { packagePath: '/nowhere' }))).rejects.toMatchObject({ code: 'NOT_A_PACKAGE' });
  expect([rig.teams.teams.length, await rig.held()]).toEqual([0, []]);
});

test('a placement of an earlier incarnation, of no rank here, or of more ranks than free is refused', async () => {
  const record = rig.place(1);
  const elsewhere = (changes: object) => ({ ...record, ranks: record.ranks.map((rank) => ({ ...rank, ...changes })) });
  await expect(rig.form(elsewhere({ incarnation: 'old' }))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
  await expect(rig.form(elsewhere({ worker: 'w9' }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  await rig.form(rig.place(1));
  await expect(rig.form(rig.place(1, { group: 'h' }))).rejects.toMatchObject({ code: 'NO_ROOM' });
});

test('cancelling the call before the group is warm ends the formation', async () => {
  rig.teams.warmAtOnce = false;
  const cancel = new AbortController();
  const formed = rig.form(rig.place(1), cancel.signal, ({ stage }) => {
    if (stage === FormStage.FORM_STAGE_JOINING) cancel.abort();
  });
  await expect(formed).rejects.toMatchObject({ code: 'CANCELLED' });
  while ((await rig.held()).length > 0);
  expect(rig.teams.last.stopCount).toBe(1);
});

test('disbanding ends the epoch named and older ones, is idempotent, and bars the epoch for good', async () => {
  await rig.form(rig.place(2));
  await rig.controller.disband('g', 1);
  expect(await rig.held()).toHaveLength(1);
  await rig.controller.disband('g', 3);
  await rig.controller.disband('g', 3);
  await rig.controller.disband('unheard of', 9);
  expect([(await rig.held()).length, rig.teams.last.stopCount]).toEqual([0, 1]);
  await expect(rig.form(rig.place(3))).rejects.toMatchObject({ code: 'STALE_EPOCH' });
});

test('the ranks of a team that has exited are free for another group', async () => {
  await rig.form(rig.place(1));
  rig.teams.last.exit('rank 1 exited');
  await rig.form(rig.place(1, { group: 'h' }));
  expect(await rig.held()).toMatchObject([{ group: 'h', ready: true }]);
});

test('every stage is told, and within one what the controller is ready to read', () => {
  const sent: FormProgress[] = [];
  const call = { pendingCount: 0, send: (progress: FormProgress) => sent.push(progress) > 0 };
  const tell = progressTo(call);
  const stages = FormStage;
  tell({ stage: stages.FORM_STAGE_LOADING, done: 1, total: 3 });
  tell({ stage: stages.FORM_STAGE_LOADING, done: 2, total: 3 });
  call.pendingCount = 1;
  tell({ stage: stages.FORM_STAGE_LOADING, done: 3, total: 3 });
  tell({ stage: stages.FORM_STAGE_JOINING, done: 1, total: 1 });
  expect(sent.map(({ stage, done }) => [stage, done])).toEqual([
    [stages.FORM_STAGE_LOADING, 1],
    [stages.FORM_STAGE_LOADING, 2],
    [stages.FORM_STAGE_JOINING, 1],
  ]);
});
