import { expect, test } from 'vitest';
import { GroupRecord, GroupState, ModelRecord, WorkerRecord } from '#proto/records.ts';
import { generationOf } from './digests.ts';
import { groupsPerModelMax, type Observed, plan, type Step } from './plan.ts';

const serving = { kvBlocks: 64, maxSequences: 8, stepTokens: 64, maxWaiting: 8 };
const model = ModelRecord.fromPartial({
  name: 'm',
  packageDigest: 'd1',
  packagePath: '/p',
  ranks: 1,
  groups: 1,
  serving,
});
const { GROUP_STATE_READY, GROUP_STATE_DEAD, GROUP_STATE_DRAINING, GROUP_STATE_FORMING } = GroupState;

const worker = (id: string, rankCapacity = 1): WorkerRecord =>
  WorkerRecord.fromPartial({ id, rankCapacity, incarnation: `${id}#1` });

function group(id: string, state: GroupState, ...workers: string[]): GroupRecord {
  const ranks = workers.map((owner, rank) => ({ rank, worker: owner, incarnation: `${owner}#1` }));
  return GroupRecord.fromPartial({
    group: id,
    model: 'm',
    epoch: 1,
    state,
    ranks,
    generation: generationOf(model) ?? '',
  });
}

function observe(
  what: { models?: ModelRecord[]; workers?: WorkerRecord[]; groups?: GroupRecord[] } & Partial<
    Omit<Observed, 'models' | 'workers' | 'groups'>
  >,
): Observed {
  const { models = [model], workers = [worker('w0')], groups = [], ...rest } = what;
  const nothing = { gone: new Set<string>(), silent: new Set<string>(), drained: new Set<string>(), nowMs: 0 };
  const none = new Map<string, number>();
  const empty = { lost: new Map<string, string>(), drainWishes: none, retryAtMs: none };
  return {
    ...{ ...nothing, ...empty, forming: new Set<string>(), ending: new Map<string, GroupRecord>() },
    models: new Map(models.map((record) => [record.name, record])),
    workers: new Map(workers.map((record) => [record.id, record])),
    groups: new Map(groups.map((record) => [record.group, record])),
    epochOf: (id) => groups.find((record) => record.group === id)?.epoch ?? 0,
    ...rest,
  };
}

const brief = (steps: Step[]): string[] => steps.map(({ kind, record }) => `${kind} ${record.group}`);

test('a healthy cluster gets no step', () => {
  expect(plan(observe({ groups: [group('m-0', GROUP_STATE_READY, 'w0')] }))).toEqual([]);
});

test('a wanted group is formed with everything that its workers need to know', () => {
  const [step] = plan(observe({ epochOf: () => 6 }));
  expect(step).toMatchObject({
    kind: 'form',
    previous: undefined,
    record: { group: 'm-0', model: 'm', epoch: 7, packageDigest: 'd1', packagePath: '/p', serving, failure: '' },
  });
  expect(step?.record.streamDigest).toMatch(/^[0-9a-f]{32}$/);
});

test('the same observation gives the same steps, in whatever order things were seen', () => {
  const seen = { models: [model, { ...model, name: 'n' }], workers: [worker('w0', 1), worker('w1', 1)] };
  const reversed = { models: [...seen.models].reverse(), workers: [...seen.workers].reverse() };
  expect(plan(observe(seen))).toEqual(plan(observe(reversed)));
  expect(brief(plan(observe(seen)))).toEqual(['form m-0', 'form n-0']);
});

test('two formations of one plan never share a place', () => {
  const steps = plan(observe({ models: [{ ...model, groups: 2 }], workers: [worker('w0', 1)] }));
  expect(brief(steps)).toEqual(['form m-0', 'wait m-1']);
});

test('the places of a group that is being ended are not free yet', () => {
  const ending = new Map([['x-0', group('x-0', GROUP_STATE_READY, 'w0')]]);
  expect(brief(plan(observe({ ending })))).toEqual(['wait m-0']);
});

test('a group is not formed while its last formation is being ended, nor before its pause is over', () => {
  const groups = [group('m-0', GROUP_STATE_DEAD)];
  const workers = [worker('w0', 2)];
  expect(plan(observe({ groups, workers, ending: new Map([['m-0', group('m-0', GROUP_STATE_READY, 'w0')]]) }))).toEqual(
    [],
  );
  const retryAtMs = new Map([['m-0', 10]]);
  expect(plan(observe({ groups, workers, retryAtMs, nowMs: 9 }))).toEqual([]);
  expect(brief(plan(observe({ groups, workers, retryAtMs, nowMs: 10 })))).toEqual(['form m-0']);
});

test('workers that are gone or silent get no group', () => {
  expect(brief(plan(observe({ gone: new Set(['w0#1']) })))).toEqual(['wait m-0']);
  expect(brief(plan(observe({ silent: new Set(['w0#1']) })))).toEqual(['wait m-0']);
});

test('a reason to wait that is in the record already is not written again', () => {
  const groups = [{ ...group('m-0', GROUP_STATE_DEAD), failure: 'waits for room: needs 1 ranks, 0 free on 0 workers' }];
  expect(plan(observe({ groups, workers: [] }))).toEqual([]);
});

test('an incomplete model leaves its groups alone and says why no new one forms', () => {
  const incomplete = { ...model, groups: 2, serving: undefined };
  const steps = plan(observe({ models: [incomplete], groups: [group('m-0', GROUP_STATE_READY, 'w0')] }));
  expect(steps).toMatchObject([
    { kind: 'wait', record: { group: 'm-1', failure: 'the record of model m lacks ranks, digest or settings' } },
  ]);
});

test('groups that nobody wants: serving ones drain, forming ones fail, dead ones are forgotten', () => {
  const groups = [
    group('m-0', GROUP_STATE_READY, 'w0'),
    group('m-1', GROUP_STATE_FORMING, 'w0'),
    group('m-2', GROUP_STATE_DEAD),
    group('m-3', GROUP_STATE_DRAINING, 'w0'),
  ];
  const steps = plan(observe({ models: [], groups, forming: new Set(['m-1@1']) }));
  expect(brief(steps)).toEqual(['drain m-0', 'fail m-1', 'forget m-2']);
});

test('a drain is ended when it may, and a drained mark on another epoch says nothing', () => {
  const groups = [group('m-0', GROUP_STATE_DRAINING, 'w0')];
  expect(brief(plan(observe({ groups, drained: new Set(['m-0@1']) })))).toEqual(['end m-0']);
  expect(plan(observe({ groups, drained: new Set(['m-0@2']) }))).toEqual([]);
});

test('a team that ended speaks against its group, a worker that went does not', () => {
  const groups = [group('m-0', GROUP_STATE_READY, 'w0')];
  expect(plan(observe({ groups, lost: new Map([['m-0@1', 'why']]) }))).toMatchObject([{ kind: 'fail', backOff: true }]);
  expect(plan(observe({ groups, gone: new Set(['w0#1']) }))).toMatchObject([{ kind: 'fail', backOff: false }]);
});

test('a worker that is to hold nothing gets no group; its groups drain in its time, and those that form there fail', () => {
  const leaving = { ...worker('w0', 2), drainMs: 700 };
  const groups = [group('m-0', GROUP_STATE_READY, 'w0', 'w1'), group('m-1', GROUP_STATE_FORMING, 'w0')];
  const seen = { models: [{ ...model, groups: 3 }], workers: [leaving, worker('w1')], groups };
  const steps = plan(observe({ ...seen, forming: new Set(['m-1@1']) }));
  expect(steps).toMatchObject([
    { kind: 'drain', record: { group: 'm-0' }, limitMs: 700 },
    { kind: 'fail', record: { group: 'm-1' }, failure: 'worker w0 is draining', backOff: false },
    { kind: 'wait', record: { group: 'm-2' } },
  ]);
  const restarted = [{ ...leaving, incarnation: 'w0#2' }];
  expect(brief(plan(observe({ ...seen, workers: restarted })))).not.toContain('drain m-0');
});

test('of several workers that leave, the one with least time counts', () => {
  const workers = [
    { ...worker('w0'), drainMs: 700 },
    { ...worker('w1'), drainMs: 300 },
  ];
  const groups = [group('m-0', GROUP_STATE_READY, 'w0', 'w1')];
  expect(plan(observe({ workers, groups }))).toMatchObject([{ kind: 'drain', limitMs: 300 }]);
});

test('a group drains when it was told to, whatever the others do, but only at that epoch', () => {
  const groups = [group('m-0', GROUP_STATE_READY, 'w0'), group('m-1', GROUP_STATE_DEAD)];
  const seen = { models: [{ ...model, groups: 2 }], groups, retryAtMs: new Map([['m-1', 10]]) };
  const steps = plan(observe({ ...seen, drainWishes: new Map([['m-0@1', 400]]) }));
  expect(steps).toMatchObject([{ kind: 'drain', record: { group: 'm-0' }, limitMs: 400 }]);
  expect(plan(observe({ ...seen, drainWishes: new Map([['m-0@2', 400]]) }))).toEqual([]);
});

test('a worker that let go of a group in its drain says nothing against the group', () => {
  const lost = new Map([['m-0@1', 'why']]);
  const draining = [group('m-0', GROUP_STATE_DRAINING, 'w0')];
  expect(plan(observe({ groups: draining, lost }))).toMatchObject([{ kind: 'fail', backOff: false }]);
  const workers = [{ ...worker('w0'), drainMs: 1 }];
  const ready = [group('m-0', GROUP_STATE_READY, 'w0')];
  expect(plan(observe({ groups: ready, workers, lost }))).toMatchObject([{ kind: 'fail', backOff: false }]);
});

test('a rollout drains nothing while another group of the model is on its way, and goes on around one without room', () => {
  const newer = { ...model, groups: 2, packageDigest: 'd2' };
  const ready = group('m-0', GROUP_STATE_READY, 'w0');
  const pausing = group('m-1', GROUP_STATE_DEAD);
  const workers = [worker('w0', 1)];
  const paused = { models: [newer], workers, groups: [ready, pausing], retryAtMs: new Map([['m-1', 10]]) };
  expect(plan(observe(paused))).toEqual([]);
  expect(brief(plan(observe({ ...paused, nowMs: 10 })))).toEqual(['drain m-0', 'wait m-1']);
});

test('a wish for more groups than the limit is cut off', () => {
  const steps = plan(observe({ models: [{ ...model, groups: 1_000_000 }], workers: [] }));
  expect(steps).toHaveLength(groupsPerModelMax);
});
