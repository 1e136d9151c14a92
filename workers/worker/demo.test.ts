import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { systemClock } from '#platform/clock.ts';
import { loadConfig } from '#platform/config.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { FinishReason, SamplingParams } from '#proto/inference.ts';
import type { GroupRecord } from '#proto/records.ts';
import { placeGroup, ScriptedController } from '../../test/fakes/scripted-controller.ts';
import { ScriptedRouter } from '../../test/fakes/scripted-router.ts';
import golden from '../../test/goldens/demo.json' with { type: 'json' };
import { slice } from '../slicer/slice.ts';
import { workerFields } from './config.ts';
import { type RunningWorker, startWorker } from './service.ts';

const model = join(import.meta.dirname, '..', '..', 'models', 'demo');
const folder = mkdtempSync(join(tmpdir(), 'demo-'));
const packagePath = join(folder, 'package');
let store: EmbeddedStore;
let bus: EmbeddedBus;
let workers: RunningWorker[];
let closing: (() => void)[];

beforeAll(() => slice({ model, out: packagePath, ranks: 2, weights: 'fp32' }));
afterAll(() => rmSync(folder, { recursive: true }));

beforeEach(() => {
  store = new EmbeddedStore();
  bus = new EmbeddedBus();
  workers = [];
  closing = [];
});

afterEach(async () => {
  for (const close of closing) close();
  await Promise.all(workers.map((worker) => worker.stop()));
  await bus.close();
  await store.close();
});

async function start(id: string) {
  const config = loadConfig(workerFields, { argv: [`--id=${id}`, '--rank-capacity=2'], env: {} });
  const log = createLogger('silent');
  const worker = await startWorker({ config, store, bus, clock: systemClock, random: systemRandom, log });
  const controller = new ScriptedController(worker.address);
  workers.push(worker);
  closing.push(() => controller.close());
  return { worker, controller };
}

function place(epoch: number, owners: readonly RunningWorker[]): GroupRecord {
  const digest = createHash('sha256')
    .update(readFileSync(join(packagePath, 'manifest.json')))
    .digest('hex');
  const records = owners.map(({ record }) => record);
  return placeGroup(epoch, records, { packagePath, packageDigest: digest });
}

async function openSession(leader: RunningWorker, epoch: number): Promise<ScriptedRouter> {
  const router = new ScriptedRouter(leader.address, bus, 'router');
  closing.push(() => router.break());
  router.hello('g', epoch);
  await router.welcome();
  return router;
}

function submitGreedy(router: ScriptedRouter, epoch: number, maxTokens: number): void {
  const sampling = SamplingParams.fromPartial({ temperature: 0, seed: '0', maxTokens, ignoreEos: true });
  router.submit({ requestId: 'x', epoch, prompt: golden.prompt, sampling });
}

const tokensOf = (router: ScriptedRouter) => router.entries.flatMap(({ tokenIds }) => tokenIds);

test('two ranks in one process generate the continuation of the reference, and nothing stays behind', async () => {
  const { worker, controller } = await start('w0');
  await controller.form(place(1, [worker, worker]));
  const router = await openSession(worker, 1);
  const expected = golden.continuation.tokens;
  submitGreedy(router, 1, expected.length);
  await router.until(() => router.entries.at(-1)?.finishReason === FinishReason.FINISH_REASON_LENGTH);
  expect(tokensOf(router)).toEqual(expected);
  expect(router.frames.map(({ sequence }) => sequence)).toEqual(router.frames.map((_, index) => index + 1));
  await router.until(() => router.statuses.at(-1)?.lastFrame === router.frames.length);
  const { groups } = await controller.describe();
  const { totalBlocks } = groups[0]!.status!;
  expect(groups[0]).toMatchObject({ ready: true, status: { running: 0, waiting: 0, freeBlocks: totalBlocks } });
  await controller.disband('g', 1);
  await router.until(() => router.ended !== undefined);
  expect([router.ended?.code, (await controller.describe()).groups]).toEqual(['UNAVAILABLE', []]);
});

test('a group over two workers serves, and when the one without the leader goes every request ends within two seconds', async () => {
  const leader = await start('w0');
  const follower = await start('w1');
  const owners = [leader.worker, follower.worker];
  await Promise.all([leader.controller.form(place(1, owners)), follower.controller.form(place(1, owners))]);
  const router = await openSession(leader.worker, 1);
  submitGreedy(router, 1, 800);
  await router.until(() => tokensOf(router).length >= 10);
  expect(tokensOf(router).slice(0, 10)).toEqual(golden.continuation.tokens.slice(0, 10));
  const before = performance.now();
  const stopped = follower.worker.stop();
  await router.until(() => router.ended !== undefined);
  expect(performance.now() - before).toBeLessThan(2000);
  expect(router.entries.at(-1)).toMatchObject({ errorCode: 'RANK_FAILED' });
  expect(router.ended?.code).toBe('RANK_FAILED');
  await stopped;
  expect((await leader.controller.describe()).groups.filter(({ ready }) => ready)).toEqual([]);
  await leader.controller.form(place(2, [leader.worker, leader.worker]));
  expect((await leader.controller.describe()).groups).toMatchObject([{ epoch: 2, ready: true }]);
});
