/** One random model as an int4 or int8 package: a position's bits must be the same alone, in batches and in chunks. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from '../../workers/slicer/inspect.ts';
import { slice } from '../../workers/slicer/slice.ts';
import { runJob } from '../../workers/verify/run-job.ts';
import { type BitsJob, type BitsResult, bitsServing } from '../numerics/bits-leader.ts';
import { buildDrawnModel } from './family-trial.ts';
import { Random } from './random.ts';

const mostRanks = 6;

export interface BitsTrial {
  readonly family: string;
  readonly seed: number;
  readonly weights: 'int4' | 'int8';
  readonly ranks: number;
  /** Positions that were compared. */
  readonly compared: number;
  readonly departures: readonly string[];
}

export async function tryBits(family: string, seed: number): Promise<BitsTrial> {
  const random = new Random(seed, `bits of ${family}`);
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-bits-'));
  try {
    const [model, packagePath] = [path.join(folder, 'checkpoint'), path.join(folder, 'package')];
    await buildDrawnModel(family, seed, model);
    const { legalRankCounts, vocabularySize } = (await inspect(model)).model;
    const ranks = random.pick(legalRankCounts.filter((count) => count <= mostRanks));
    const weights = random.pick(['int4', 'int4', 'int8'] as const);
    await slice({ model, out: packagePath, ranks, weights });
    const data: BitsJob = { vocabularySize };
    const job = { module: new URL('../numerics/bits-leader.ts', import.meta.url).href, data };
    const result = await runJob({ packagePath, ranks, transport: 'threads', serving: bitsServing, job });
    const { departures, compared } = result as BitsResult;
    return { family, seed, weights, ranks, compared, departures };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
