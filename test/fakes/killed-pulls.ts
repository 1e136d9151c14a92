/** Pulls in real processes that are killed at points drawn from a seed, and then run to the end. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { startProcess, type TestProcess } from '../harness/process.ts';
import { bytesOf, contentsOf } from './hub-rig.ts';
import { type FakeModel, HubServer } from './hub-server.ts';

const root = path.join(import.meta.dirname, '..', '..');

/** The command that pulls; endpoint, cache and repository follow. */
export const pullCommand: readonly string[] = [
  path.join(root, 'node_modules', '.bin', 'node'),
  path.join(root, 'test', 'fixtures', 'pull-process.ts'),
];

const model: FakeModel = {
  repo: 'acme/killed',
  files: {
    'config.json': bytesOf('config', 500),
    'model-1.safetensors': bytesOf('one', 1_500_000),
    'model-2.safetensors': bytesOf('two', 700_001),
    'model-3.safetensors': bytesOf('three', 64 << 10),
    'tokenizer.json': bytesOf('tokenizer', 40_000),
  },
};
const modelBytes = Object.values(model.files).reduce((sum, { length }) => sum + length, 0);

type KillPoint =
  | { readonly kind: 'bytes' /** Sent by the server to this process. */; readonly count: number }
  | { readonly kind: 'time' /** After the process began to ask. */; readonly afterMs: number };

const killPoint: fc.Arbitrary<KillPoint> = fc.oneof(
  { weight: 3, arbitrary: fc.nat({ max: modelBytes }).map((count) => ({ kind: 'bytes', count }) as const) },
  { weight: 1, arbitrary: fc.nat({ max: 120 }).map((afterMs) => ({ kind: 'time', afterMs }) as const) },
);

export interface KilledPull {
  /** What was left by the kills that came before a pull had ended. */
  readonly kills: readonly Record<string, string>[];
  readonly output: string;
  /** In the end. */
  readonly contents: Record<string, string>;
}

/** One undisturbed pull, then as many as there are to be, each killed up to three times. */
export async function killedPulls(
  seed: number,
  count: number,
): Promise<{ whole: Record<string, string>; pulls: KilledPull[] }> {
  await using server = await HubServer.start([model]);
  const scenarios = fc.sample(fc.array(killPoint, { minLength: 1, maxLength: 3 }), { seed, numRuns: count });
  const { contents: whole } = await killedPull(server, []);
  const pulls: KilledPull[] = [];
  for (const points of scenarios) pulls.push(await killedPull(server, points));
  return { whole, pulls };
}

async function killedPull(server: HubServer, points: readonly KillPoint[]): Promise<KilledPull> {
  await using folder = await temporaryFolder();
  const cache = path.join(folder.path, 'hub');
  const start = (): TestProcess => startProcess(pullCommand[0]!, [pullCommand[1]!, server.endpoint, cache, model.repo]);
  const kills: Record<string, string>[] = [];
  for (const point of points) {
    const running = start();
    await killAt(point, running, server);
    const { signal } = await running.exited;
    if (signal === 'SIGKILL') kills.push(await contentsOf(cache));
  }
  server.onFileBytes = () => {};
  const last = start();
  await last.exited;
  return { kills, output: last.output, contents: await contentsOf(cache) };
}

/** Returns when it has been killed, or has ended before. */
async function killAt(point: KillPoint, running: TestProcess, server: HubServer): Promise<void> {
  const asked = server.untilAsked();
  if (point.kind === 'time') {
    await Promise.race([asked, running.exited]);
    await sleep(point.afterMs);
    return running.kill('SIGKILL');
  }
  const target = server.fileBytes + point.count;
  server.onFileBytes = (total) => {
    if (total >= target) running.kill('SIGKILL');
  };
  await running.exited;
}
