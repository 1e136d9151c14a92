/**
 * Sixteen streams through gRPC and NATS, client, router, controller and worker each in a process, beside the bare engine
 * in turn. CPU shares are of one core, over the client's run.
 */
import { readFileSync } from 'node:fs';
import { TestSystem } from '../e2e/start-system.ts';
import type { ClientRun } from './end-to-end-client.ts';
import type { EngineRun } from './engine-run.ts';
import { benchPackage, median, runScript } from './measure.ts';

const streams = 16;
/** Of /proc/PID/stat, on Linux. */
const ticksPerSecond = 100;

export async function benchEndToEnd(repeats: number): Promise<object> {
  const results = [];
  for (const ranks of [1, 2]) results.push(await benchRanks(ranks, repeats));
  return { streams, results };
}

async function benchRanks(ranks: number, repeats: number): Promise<object> {
  const folder = await benchPackage(ranks);
  const bare: number[] = [];
  const whole: number[] = [];
  const shares: Record<string, number[]> = {};
  for (let repeat = 0; repeat < repeats; repeat++) {
    const run = await runScript<EngineRun>(
      'engine-run.ts',
      '--package',
      folder,
      '--batches',
      `${streams}`,
      '--steps',
      '64',
    );
    bare.push(run.decode[streams]!);
    const system = await TestSystem.start('--package', folder, '--ranks', `${ranks}`);
    try {
      const names = ['router', 'controller', 'worker-0'];
      const before = names.map((name) => cpuSeconds(system.pidOf(name)));
      const startMs = performance.now();
      whole.push((await runScript<ClientRun>('end-to-end-client.ts', '--address', system.address)).tokensPerSecond);
      const seconds = (performance.now() - startMs) / 1000;
      for (const [i, name] of names.entries()) {
        shares[name] = [...(shares[name] ?? []), (cpuSeconds(system.pidOf(name)) - before[i]!) / seconds];
      }
    } finally {
      await system.stop();
    }
  }
  const ratio = median(whole.map((speed, i) => speed / bare[i]!));
  const cpu = Object.fromEntries(Object.entries(shares).map(([name, values]) => [name, median(values)]));
  const figures = `${median(whole).toFixed(0)} of ${median(bare).toFixed(0)} tokens/s, ratio ${ratio.toFixed(3)}`;
  console.log(
    `${ranks} ranks: ${figures}; CPU ${Object.entries(cpu)
      .map(([name, share]) => `${name} ${share.toFixed(2)}`)
      .join(', ')}`,
  );
  return { ranks, bare, whole, ratio, cpu };
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}
