import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { systemClock } from '#platform/clock.ts';
import { loadConfig } from '#platform/config.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { SamplingParams } from '#proto/inference.ts';
import { placeGroup, ScriptedController } from '../../test/fakes/scripted-controller.ts';
import { ScriptedRouter } from '../../test/fakes/scripted-router.ts';
import { type AdapterShape, mergeAdapter, writeAdapter } from '../../test/fixtures/made-adapter.ts';
import { goldenCheckpoint } from '../../test/fixtures/tiny-checkpoint.ts';
import { slice } from '../slicer/slice.ts';
import { workerFields } from './config.ts';
import { type RunningWorker, startWorker } from './service.ts';

const prompt = Array.from({ length: 20 }, (_, i) => 4 + ((i * 53) % 500));
const length = 12;
const shapes: Readonly<Record<string, AdapterShape>> = Object.fromEntries(
  ['first', 'second', 'third'].map((name, i) => [
    name,
    { seed: 100 * (i + 1), rank: 4, alpha: 8, targets: /self_attn[.](q|k|v|o)_proj[.]weight$/ },
  ]),
);

let checkpoint: Awaited<ReturnType<typeof goldenCheckpoint>>;
let store: EmbeddedStore;
let bus: EmbeddedBus;
let workers: RunningWorker[];
let closing: (() => void)[];
const at = (name: string): string => path.join(checkpoint.path, name);

beforeAll(async () => {
  checkpoint = await goldenCheckpoint('qwen3_moe');
  await slice({ model: checkpoint.checkpoint, out: at('package'), ranks: 2, weights: 'fp32' });
  for (const [name, shape] of Object.entries(shapes)) {
    await writeAdapter(checkpoint.checkpoint, at(`adapters/${name}`), shape);
    await mergeAdapter(checkpoint.checkpoint, at(`merged-${name}`), shape);
    await slice({ model: at(`merged-${name}`), out: at(`package-${name}`), ranks: 2, weights: 'fp32' });
  }
});
afterAll(() => checkpoint[Symbol.asyncDispose]());

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

/** A group over both workers, and a router's session with its leader. */
async function form(epoch: number, name: string, places: number) {
  const [leader, follower] = [await start(`leader-${epoch}`), await start(`follower-${epoch}`)];
  const packagePath = at(name);
  const packageDigest = createHash('sha256')
    .update(readFileSync(path.join(packagePath, 'manifest.json')))
    .digest('hex');
  const adapters = places === 0 ? undefined : { folder: at('adapters'), places, rank: 8 };
  const serving = { kvBlocks: 64, maxSequences: 4, stepTokens: 64, maxWaiting: 4, adapters };
  const owners = [leader.worker.record, follower.worker.record];
  const group = placeGroup(epoch, owners, { packagePath, packageDigest, serving });
  await Promise.all([leader.controller.form(group), follower.controller.form(group)]);
  const router = new ScriptedRouter(leader.worker.address, bus, `router-${epoch}`);
  closing.push(() => router.break());
  router.hello('g', epoch);
  await router.welcome();
  const submit = (requestId: string, adapter: string): void => {
    const sampling = SamplingParams.fromPartial({ temperature: 0, seed: '0', maxTokens: length, ignoreEos: true });
    router.submit({ requestId, epoch, prompt, sampling, adapter });
  };
  const tokensOf = (requestId: string): readonly number[] =>
    router.entries.filter((entry) => entry.requestId === requestId).flatMap(({ tokenIds }) => tokenIds);
  const finished = async (requestId: string): Promise<readonly number[]> => {
    await router.until(() => tokensOf(requestId).length === length);
    return tokensOf(requestId);
  };
  return { router, submit, finished, controller: leader.controller };
}

test('requests with adapters run beside others on ranks of several workers, each as with the adapter merged in', async () => {
  const expected = new Map<string, readonly number[]>();
  for (const [i, name] of ['', 'first', 'second', 'third'].entries()) {
    const merged = await form(10 + i, name === '' ? 'package' : `package-${name}`, 0);
    merged.submit('x', '');
    expected.set(name, await merged.finished('x'));
  }
  expect(new Set([...expected.values()].map(String)).size).toBe(4);
  const { submit, finished, controller } = await form(1, 'package', 2);
  for (const name of ['', 'first', 'second']) submit(`beside ${name}`, name);
  for (const name of ['', 'first', 'second']) expect(await finished(`beside ${name}`)).toEqual(expected.get(name));
  // Two places: the third takes that of the first, which was used least recently, and the first that of the second.
  for (const name of ['third', 'first', 'second']) {
    submit(`after ${name}`, name);
    expect(await finished(`after ${name}`)).toEqual(expected.get(name));
  }
  expect((await controller.describe()).groups).toMatchObject([{ adapters: ['first', 'second'] }]);
});

test('what cannot be loaded is refused by name, and harms nobody', async () => {
  const { router, submit, finished } = await form(1, 'package', 3);
  submit('absent', 'nowhere');
  submit('outside', '../package');
  submit('fine', 'first');
  await finished('fine');
  const refused = router.refused.toSorted((a, b) => b.requestId.localeCompare(a.requestId));
  expect(refused).toMatchObject([
    { requestId: 'outside', code: 'UNKNOWN_ADAPTER', message: '"../package" is no name of an adapter' },
    {
      requestId: 'absent',
      code: 'UNKNOWN_ADAPTER',
      message: expect.stringContaining('nowhere has no adapter_config.json'),
    },
  ]);
});

test('while every place is in use another adapter finds no room; a cancelled request gives its place up', async () => {
  const { router, submit, finished } = await form(1, 'package', 1);
  const sampling = SamplingParams.fromPartial({ temperature: 0, seed: '0', maxTokens: 200, ignoreEos: true });
  router.submit({ requestId: 'long', epoch: 1, prompt, sampling, adapter: 'first' });
  await router.until(() => router.entries.length > 0);
  submit('other', 'second');
  await router.until(() => router.refused.length > 0);
  expect(router.refused[0]).toMatchObject({ requestId: 'other', code: 'NO_ROOM' });
  router.send({ $case: 'cancel', value: { requestId: 'long', attempt: 1, choices: [] } });
  submit('again', 'second');
  expect(await finished('again')).toHaveLength(length);
});
