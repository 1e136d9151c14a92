/**
 * For measure-memory.ts: loads a package, runs a first forward, unloads, over and over, and prints the resident size (Rss of
 * smaps_rollup) of every cycle as JSON: while loaded, or after unloading. Arguments: package folder, when, cycles.
 */
import { readFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { createLogger } from '../services/platform/log.ts';
import { readManifest } from '../workers/rank/package.ts';
import { startTeam } from '../workers/rank/team.ts';
import { returnFreedMemory } from '../workers/runtime/process-memory.ts';

const [packagePath = '', when, cycles = '1'] = process.argv.slice(2);
const { shards } = readManifest(packagePath);
const log = createLogger('warn');

/** After everything that nobody refers to is gone, also what a thread's end or a promise still held. */
async function residentBytes(): Promise<number> {
  for (let turn = 0; turn < 3; turn++) {
    await setImmediate();
    globalThis.gc?.();
  }
  returnFreedMemory();
  const text = readFileSync('/proc/self/smaps_rollup', 'utf8');
  return 1024 * Number(/^Rss:\s+(\d+) kB$/m.exec(text)?.[1]);
}

const sizes: number[] = [];
for (let cycle = 0; cycle < Number(cycles); cycle++) {
  const team = await startTeam({
    packagePath,
    ranks: shards.length,
    localRanks: shards.map(({ rank }) => rank),
    serving: { kvBlocks: 256, maxSequences: 16, stepTokens: 256, maxWaiting: 16, adapters: undefined },
    events: { onProgress: () => {}, onReport: () => {}, onExit: fail, onStuck: fail },
    log,
  });
  if (when === 'loaded') sizes.push(await residentBytes());
  await team.stop();
  if (when !== 'loaded') sizes.push(await residentBytes());
}
console.log(JSON.stringify(sizes));

function fail(error: Error): never {
  throw error;
}
