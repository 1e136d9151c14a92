/**
 * What a package costs in memory, measured on real processes:
 *   node scripts/measure-memory.ts [--package DIR] [--weights int4] [--ranks 2] [--cycles 50]
 * Without a package the demo model is sliced. Prints the resident size after the first forward beside its bound, and how it
 * moves over cycles of loading and unloading. Exit status 1 when a bound is broken.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { WeightFormat } from '../workers/models/manifest.ts';
import { readManifest } from '../workers/rank/package.ts';
import { slice } from '../workers/slicer/slice.ts';

const mib = 2 ** 20;
/** Beside twice the weights: the runtime and this process, and each rank's thread. Caches of keys and values not counted. */
const processBytes = 300 * mib;
const rankBytes = 60 * mib;
/** The resident size may rise by so much between the fifth cycle and the last. */
const growthMax = 0.05;
const settledCycles = 5;

export interface MemoryReport {
  readonly ranks: number;
  readonly weightBytes: number;
  readonly loadedBytes: number;
  readonly loadedBytesMax: number;
  readonly cycles: number;
  /** Resident size after the fifth cycle and after the last. */
  readonly settledBytes: number;
  readonly finalBytes: number;
  readonly passed: boolean;
}

export async function measureMemory(packagePath: string, cycles: number): Promise<MemoryReport> {
  const { shards } = readManifest(packagePath);
  const weightBytes = shards.reduce((sum, shard) => sum + shard.weightBytes, 0);
  const loadedBytesMax = 2 * weightBytes + processBytes + shards.length * rankBytes;
  const [loadedBytes = 0] = await cycleSizes(packagePath, 'loaded', 1);
  const sizes = await cycleSizes(packagePath, 'unloaded', cycles);
  const settledBytes = sizes[settledCycles - 1] ?? 0;
  const finalBytes = sizes.at(-1) ?? 0;
  const passed = loadedBytes <= loadedBytesMax && finalBytes <= settledBytes * (1 + growthMax);
  return { ranks: shards.length, weightBytes, loadedBytes, loadedBytesMax, cycles, settledBytes, finalBytes, passed };
}

/** Resident sizes of a process of its own, while the package is loaded or after it was, once per cycle. */
async function cycleSizes(packagePath: string, when: 'loaded' | 'unloaded', cycles: number): Promise<number[]> {
  const script = path.join(import.meta.dirname, 'load-cycles.ts');
  const flags = ['--expose-gc', script, packagePath, when, String(cycles)];
  const { stdout } = await promisify(execFile)(process.execPath, flags);
  return JSON.parse(stdout) as number[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      package: { type: 'string' },
      weights: { type: 'string', default: 'int4' },
      ranks: { type: 'string', default: '2' },
      cycles: { type: 'string', default: '50' },
    },
  });
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-memory-'));
  try {
    const out = values.package ?? path.join(folder, 'package');
    const model = path.join(import.meta.dirname, '..', 'models', 'demo');
    const weights = values.weights as WeightFormat;
    if (!values.package) await slice({ model, out, ranks: Number(values.ranks), weights });
    const report = await measureMemory(out, Number(values.cycles));
    console.log(JSON.stringify(report));
    if (!report.passed) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) await main();
