/**
 * Slicing beside plain reading and writing of as many bytes, with and without their digests, and how fast blocks are packed. A passthrough
 * keeps every number: float32 as it is, FP8 widened to the float32 that packages hold. Each measurement is a process of its own and writes
 * fresh files, and what the one before left to the disk is flushed first.
 */
import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { deepseekConfig, narrowWidths } from './deepseek-model.ts';
import { benchShape, qwen3MoeConfig } from './make-model.ts';
import { median, root, runScript } from './measure.ts';
import { type StoredFormat, writeRandomCheckpoint } from './random-checkpoint.ts';
import type { SlicingRun } from './slicing-run.ts';

interface SlicingCase {
  readonly source: StoredFormat;
  readonly weights: WeightFormat;
  /** That encode, beside the one that writes; none: that one does both. undefined: as many as slicing chooses. */
  readonly threads?: number;
}

const passthroughs: readonly SlicingCase[] = [
  { source: 'F32', weights: 'fp32' },
  { source: 'FP8', weights: 'native' },
];

const packings: readonly SlicingCase[] = (['int4', 'int8'] as const).flatMap((weights) =>
  [0, 1, 2].map((threads) => ({ source: 'BF16', weights, threads }) as const),
);

const configs: Readonly<Record<StoredFormat, Readonly<Record<string, unknown>>>> = {
  F32: qwen3MoeConfig({ ...benchShape, layers: 5 }),
  BF16: qwen3MoeConfig({ ...benchShape, layers: 10 }),
  FP8: deepseekConfig(narrowWidths),
};

const ranks = 2;
const folder = path.join(root, '.trireme', 'bench', 'slicing');
const checkpointOf = (format: StoredFormat): string => path.join(folder, format);

export async function benchSlicing(repeats: number): Promise<object> {
  await mkdir(folder, { recursive: true });
  try {
    for (const [format, config] of Object.entries(configs) as [StoredFormat, (typeof configs)[StoredFormat]][]) {
      await writeRandomCheckpoint(checkpointOf(format), { config, format, seed: 1 });
    }
    const beside = [];
    for (const passthrough of passthroughs) beside.push(await benchBeside(passthrough, repeats));
    const alone = [];
    for (const packing of packings) alone.push(await benchAlone(packing, repeats));
    return { ranks, passthroughs: beside, packings: alone };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * memory: the checkpoint lies in the page cache, and nobody waits for the disk. disk: the checkpoint is read from there, and the time ends
 * when the package is there, as with models that are larger than memory.
 */
const states = ['memory', 'disk'] as const;
type State = (typeof states)[number];

/** digested: read and written plainly, with SHA-256 of all of it, which a manifest has to hold. */
const sides = ['slice', 'plain', 'digested'] as const;
type Side = (typeof sides)[number];

async function benchBeside(which: SlicingCase, repeats: number): Promise<object> {
  // Says how many bytes a package has, and makes room in memory for it; not counted.
  for (const side of sides) await measure(side, which, 'memory');
  const results = [];
  for (const state of states) results.push(await benchState(which, state, repeats));
  return { ...which, ...(await bytesOf(which)), states: results };
}

/** Whoever goes first changes with every repeat. */
async function benchState(which: SlicingCase, state: State, repeats: number): Promise<object> {
  const seconds: Record<Side, number[]> = { slice: [], plain: [], digested: [] };
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const side of repeat % 2 === 0 ? sides : sides.toReversed()) {
      seconds[side].push(await measure(side, which, state));
    }
  }
  const beside = (other: Side): Spread => spread(seconds.slice.map((own, i) => own / seconds[other][i]!));
  const ratios = { plain: beside('plain'), digested: beside('digested') };
  const shownRatios = `${shown(ratios.plain)} of plain reading and writing, ${shown(ratios.digested)} of that with digests`;
  console.log(`${label(which)}, ${state}: ${shownRatios}; ${speeds(await bytesOf(which), seconds.slice)}`);
  return { state, seconds, ratios };
}

async function benchAlone(which: SlicingCase, repeats: number): Promise<object> {
  const seconds: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) seconds.push(await measure('slice', which, 'memory'));
  const bytes = await bytesOf(which);
  console.log(`${label(which)}: ${speeds(bytes, seconds)}`);
  return { ...which, ...bytes, seconds };
}

const packageOf = ({ source, weights }: SlicingCase): string => path.join(folder, `${source}-${weights}`);

/** Seconds, as the state counts them. */
async function measure(side: Side, which: SlicingCase, state: State): Promise<number> {
  const { source, weights, threads } = which;
  const checkpoint = checkpointOf(source);
  const out = packageOf(which);
  const copy = `${out}-copy`;
  await rm(side === 'slice' ? out : copy, { recursive: true, force: true });
  await run('sync');
  if (state === 'disk') await forget(checkpoint);
  const chosen = threads === undefined ? [] : [String(threads)];
  const words = side === 'slice' ? [out, weights, String(ranks), ...chosen] : [copy, out];
  const { seconds, flushedSeconds } = await runScript<SlicingRun>('slicing-run.ts', side, checkpoint, ...words);
  return state === 'disk' ? flushedSeconds : seconds;
}

const run = promisify(execFile);

/** Drops a folder's files out of the page cache: what dd does with `nocache` when it is to copy nothing. */
async function forget(checkpoint: string): Promise<void> {
  for (const file of await readdir(checkpoint)) {
    await run('dd', [`if=${path.join(checkpoint, file)}`, 'iflag=nocache', 'count=0', 'status=none']);
  }
}

interface Bytes {
  readonly sourceBytes: number;
  readonly packageBytes: number;
}

async function bytesOf(which: SlicingCase): Promise<Bytes> {
  return {
    sourceBytes: await bytesBelow(checkpointOf(which.source)),
    packageBytes: await bytesBelow(packageOf(which)),
  };
}

async function bytesBelow(place: string): Promise<number> {
  const entries = (await readdir(place, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const sizes = await Promise.all(
    entries.map(async ({ parentPath, name }) => (await stat(path.join(parentPath, name))).size),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

function spread(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

const shown = ({ median: middle, least, most }: Spread): string =>
  `${middle.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;

function label({ source, weights, threads }: SlicingCase): string {
  return `${source} to ${weights}${threads === undefined ? '' : `, ${threads} encoding threads`}`;
}

function speeds({ sourceBytes, packageBytes }: Bytes, seconds: readonly number[]): string {
  const speed = (bytes: number): string => (bytes / 1e6 / median(seconds)).toFixed(0);
  return `${speed(sourceBytes)} MB/s of source, ${speed(packageBytes)} MB/s of package`;
}
