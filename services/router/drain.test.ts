import { expect, test } from 'vitest';
import type { DrainRequest } from '#proto/control.ts';
import type { DrainTarget } from '#proto/operations.ts';
import { GroupRecord, GroupState, WorkerRecord } from '#proto/records.ts';
import { drain } from './drain.ts';

const ranks = [{ rank: 0, worker: 'w0', address: 'w0:1' }];
const ready = GroupRecord.fromPartial({ group: 'g', epoch: 7, state: GroupState.GROUP_STATE_READY, ranks });
const groups = new Map([
  ['g', ready],
  ['h', { ...ready, group: 'h', state: GroupState.GROUP_STATE_FORMING }],
]);

async function order(target: Partial<DrainTarget>) {
  const told: [string, DrainRequest][] = [];
  const router: (number | undefined)[] = [];
  const started = await drain(
    { target: undefined, undo: false, ...target },
    {
      fleet: {
        group: (name) => groups.get(name),
        workers: [WorkerRecord.fromPartial({ id: 'w0', address: 'w0:1', incarnation: 'i' })],
      },
      defaultLimitMs: 30_000,
      tellWorker: async (address, request) => void told.push([address, request]),
      drainRouter: (limitMs) => router.push(limitMs),
    },
  );
  return { started, told, router };
}

test("a group's drain goes to its leader, for the epoch that the router sees", async () => {
  expect(await order({ target: { $case: 'group', value: 'g' }, limitMs: 0 })).toEqual({
    started: { epoch: 7, incarnation: '' },
    told: [['w0:1', { group: 'g', epoch: 7, limitMs: 0, undo: false }]],
    router: [],
  });
});

test("a worker's drain goes to it, and so does its end", async () => {
  expect(await order({ target: { $case: 'worker', value: 'w0' } })).toMatchObject({
    started: { incarnation: 'i' },
    told: [['w0:1', { group: '', limitMs: 30_000, undo: false }]],
  });
  const { told } = await order({ target: { $case: 'worker', value: 'w0' }, undo: true });
  expect(told).toMatchObject([['w0:1', { group: '', undo: true }]]);
});

test('a router drains itself', async () => {
  expect((await order({ target: { $case: 'router', value: {} }, limitMs: 5 })).router).toEqual([5]);
  expect((await order({ target: { $case: 'router', value: {} }, undo: true })).router).toEqual([undefined]);
});

test.each([
  [{ $case: 'group', value: 'x' }, false, 'UNKNOWN_TARGET', 'group x'],
  [{ $case: 'worker', value: 'x' }, false, 'UNKNOWN_TARGET', 'worker x'],
  [{ $case: 'group', value: 'h' }, false, 'UNAVAILABLE', 'group h serves nothing'],
  [{ $case: 'group', value: 'g' }, true, 'INVALID_ARGUMENT', 'not undone'],
  [undefined, false, 'INVALID_ARGUMENT', 'names a group'],
] as const)('what cannot drain is refused (%j)', async (target, undo, code, words) => {
  await expect(order({ target: target as DrainTarget['target'], undo })).rejects.toMatchObject({
    code,
    message: expect.stringContaining(words),
  });
});
