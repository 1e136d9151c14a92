/**
 * Measures the peak memory of slicing against its bound, 300 MB + twice the largest tensor as stored:
 *   node scripts/measure-slicing.ts [--folder DIR] [--json]
 * Slices made-up checkpoints, each in a process of its own: one with many small tensors, one with a huge table. They take
 * some 8 GB below DIR (default: the system's temporary folder) for a while. Exit status 1 when a bound is passed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import type { WeightFormat } from '../workers/models/manifest.ts';
import { slice } from '../workers/slicer/slice.ts';

const megabyte = 1e6;
const makeModel = path.join(import.meta.dirname, '..', 'test', 'bench', 'make-model.ts');

interface Shape {
  readonly name: string;
  /** What make-model is told besides its defaults. */
  readonly arguments: readonly string[];
  /** Of a tensor as stored. */
  readonly largestBytes: number;
}

const shapes: readonly Shape[] = [
  { name: 'many experts, 1.4 GB', arguments: [], largestBytes: 32_000 * 1024 * 2 },
  {
    name: 'a table of 1.2 GB, 2.6 GB in all',
    arguments: ['--layers', '1', '--hidden', '2048', '--vocabulary', '300000'],
    largestBytes: 300_000 * 2048 * 2,
  },
];

const cuts: readonly (readonly [WeightFormat, number])[] = [
  ['int4', 1],
  ['int4', 4],
  ['int8', 2],
  ['fp32', 1],
];

interface Measurement {
  readonly checkpoint: string;
  readonly weights: WeightFormat;
  readonly ranks: number;
  readonly seconds: number;
  readonly peakMegabytes: number;
  readonly boundMegabytes: number;
}

/** In the child: slices and prints seconds and the high-water mark of this process, in kB. */
async function sliceHere(model: string, out: string, weights: WeightFormat, ranks: number): Promise<void> {
  const start = performance.now();
  await slice({ model, out, weights, ranks });
  const status = await readFile('/proc/self/status', 'utf8');
  const peak = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, peakKilobytes: peak }));
}

function runNode(script: string, ...values: string[]): string {
  const child = spawnSync(process.execPath, [script, ...values], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (child.status !== 0) throw new Error(`${path.basename(script)} ended with status ${child.status}`);
  return child.stdout;
}

async function measureAll(folder: string): Promise<readonly Measurement[]> {
  const results: Measurement[] = [];
  const model = path.join(folder, 'checkpoint');
  const out = path.join(folder, 'package');
  for (const shape of shapes) {
    runNode(makeModel, '--out', model, ...shape.arguments);
    for (const [weights, ranks] of cuts) {
      const output = runNode(import.meta.filename, '--child', model, out, weights, String(ranks));
      const { seconds, peakKilobytes } = JSON.parse(output);
      results.push({
        checkpoint: shape.name,
        weights,
        ranks,
        seconds,
        peakMegabytes: (peakKilobytes * 1024) / megabyte,
        boundMegabytes: 300 + (2 * shape.largestBytes) / megabyte,
      });
    }
    await rm(model, { recursive: true });
  }
  return results;
}

function print(results: readonly Measurement[]): void {
  console.log('checkpoint                        weights ranks  seconds  peak MB  bound MB');
  for (const { checkpoint, weights, ranks, seconds, peakMegabytes, boundMegabytes } of results) {
    const numbers = [ranks, seconds.toFixed(1), peakMegabytes.toFixed(0), boundMegabytes.toFixed(0)];
    const widths = [5, 8, 8, 9];
    const cells = numbers.map((value, i) => String(value).padStart(widths[i]!));
    console.log(`${checkpoint.padEnd(33)} ${weights.padEnd(7)} ${cells.join(' ')}`);
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      folder: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
      child: { type: 'boolean', default: false },
    },
  });
  if (values.child) {
    const [model = '', out = '', weights = 'int4', ranks = '1'] = positionals;
    await sliceHere(model, out, weights as WeightFormat, Number(ranks));
    return;
  }
  const folder = await mkdtemp(path.join(values.folder, 'trireme-measure-'));
  try {
    const results = await measureAll(folder);
    if (values.json) console.log(JSON.stringify(results, null, 1));
    else print(results);
    process.exitCode = results.every(({ peakMegabytes, boundMegabytes }) => peakMegabytes < boundMegabytes) ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main();
