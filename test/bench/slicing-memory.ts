/**
 * The peak memory of slicing beside its bound, 300 MB + twice the largest tensor as stored. Made-up checkpoints, each cut by processes of
 * their own: many small tensors, a huge table, and DeepSeek-V3 as wide as it is in FP8, of which rows are held against the file. Takes up
 * to 20 GB below .trireme for a while.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { expectedTensors } from '../../workers/models/expected-tensors.ts';
import { readModelSpec } from '../../workers/models/families.ts';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { compareRows } from '../fixtures/compare-rows.ts';
import { deepseekConfig, fullWidths } from './deepseek-model.ts';
import { benchShape, qwen3MoeConfig } from './make-model.ts';
import { benchFolder, runScript } from './measure.ts';
import { type RandomCheckpoint, storedAs, writeRandomCheckpoint } from './random-checkpoint.ts';
import type { SlicingMemoryRun } from './slicing-memory-run.ts';

export interface MemoryShape extends RandomCheckpoint {
  readonly name: string;
}

export interface Cut {
  readonly weights: WeightFormat;
  readonly ranks: number;
}

const shapes: readonly (MemoryShape & { readonly cuts: readonly Cut[] })[] = [
  {
    name: 'many experts',
    config: qwen3MoeConfig(benchShape),
    format: 'BF16',
    seed: 1,
    cuts: [
      { weights: 'int4', ranks: 1 },
      { weights: 'int8', ranks: 4 },
      { weights: 'fp32', ranks: 2 },
    ],
  },
  {
    name: 'a table of 1.2 GB',
    config: qwen3MoeConfig({ ...benchShape, layers: 1, hidden: 2048, vocabulary: 300_000 }),
    format: 'BF16',
    seed: 1,
    cuts: [
      { weights: 'int4', ranks: 4 },
      { weights: 'fp32', ranks: 1 },
    ],
  },
  {
    name: 'DeepSeek-V3, full width',
    config: deepseekConfig(fullWidths),
    format: 'FP8',
    seed: 1,
    cuts: [
      { weights: 'native', ranks: 1 },
      { weights: 'native', ranks: 8 },
      { weights: 'int8', ranks: 2 },
      { weights: 'int4', ranks: 4 },
      { weights: 'int4', ranks: 16 },
    ],
  },
];

const fixedBytesMax = 300e6;
const rowsCompared = 256;

export interface MemoryMeasurement extends Cut {
  readonly checkpoint: string;
  readonly seconds: number;
  readonly peakBytes: number;
  readonly peakBytesMax: number;
  readonly rows: number;
  /** Rows that are not what the checkpoint stores. */
  readonly different: readonly string[];
}

export function isWithinBound({ peakBytes, peakBytesMax, different }: MemoryMeasurement): boolean {
  return peakBytes <= peakBytesMax && different.length === 0;
}

export async function benchSlicingMemory(): Promise<object> {
  const parent = await benchFolder();
  const measurements: MemoryMeasurement[] = [];
  for (const { cuts, ...shape } of shapes) {
    measurements.push(...(await measureShape(parent, shape, cuts)));
  }
  if (!measurements.every(isWithinBound)) process.exitCode = 1;
  return { measurements };
}

/** Below `parent`, where nothing is left. */
export async function measureShape(
  parent: string,
  shape: MemoryShape,
  cuts: readonly Cut[],
): Promise<readonly MemoryMeasurement[]> {
  const folder = await mkdtemp(path.join(parent, 'slicing-memory-'));
  const checkpoint = path.join(folder, 'checkpoint');
  const measurements: MemoryMeasurement[] = [];
  try {
    await writeRandomCheckpoint(checkpoint, shape);
    for (const cut of cuts) {
      const measurement = await measureCut(checkpoint, path.join(folder, 'package'), shape, cut);
      console.log(shown(measurement));
      measurements.push(measurement);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return measurements;
}

async function measureCut(checkpoint: string, out: string, shape: MemoryShape, cut: Cut): Promise<MemoryMeasurement> {
  const words = [checkpoint, out, cut.weights, String(cut.ranks)];
  const run = await runScript<SlicingMemoryRun>('slicing-memory-run.ts', ...words);
  const rowsPerRank = Math.ceil(rowsCompared / cut.ranks);
  const { rows, different } = await compareRows({ checkpoint, package: out, ...cut, rowsPerRank, seed: shape.seed });
  await rm(out, { recursive: true });
  const peakBytesMax = fixedBytesMax + 2 * largestTensorBytes(shape);
  return { checkpoint: shape.name, ...cut, ...run, peakBytesMax, rows, different };
}

function largestTensorBytes({ config, format }: MemoryShape): number {
  const tensors = expectedTensors(readModelSpec(config)).flatMap((tensor) => storedAs(tensor, format));
  return Math.max(...tensors.map(({ byteLength }) => byteLength));
}

function shown({ checkpoint, weights, ranks, rows, different, ...measured }: MemoryMeasurement): string {
  const [peak, bound] = [measured.peakBytes, measured.peakBytesMax].map((bytes) => (bytes / 1e6).toFixed(0));
  const compared = `${rows} rows compared, ${different.length} different`;
  return `${checkpoint}, ${weights}, ${ranks} ranks: peak ${peak} MB of ${bound}, ${measured.seconds.toFixed(1)} s; ${compared}`;
}
