/** One random model through the product: built as a checkpoint, sliced for every legal rank count, held against the reference. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TriremeError } from '../../services/platform/errors.ts';
import { inspect } from '../../workers/slicer/inspect.ts';
import { type VerifyReport, verify } from '../../workers/verify/verify.ts';
import { buildCheckpoint } from '../goldens/build-checkpoint.ts';
import { drawModel } from './draw-model.ts';
import { makeGolden } from './make-golden.ts';
import { Random } from './random.ts';
import { type ReferenceCheckpoint, ReferenceModel, readReferenceCheckpoint } from './reference-model.ts';
import { sensitivityOf } from './sensitivity.ts';

const mostRanks = 6;
const promptTries = 5;
/** In standard deviations: what any two float32 implementations may differ by. */
const mostError = 1e-4;
/** An error is this many times what float32 costs, at most: seen are 1 to 8, and 25 where a delta net magnifies it. */
const mostTimes = 50;
/** Prompts on which float32 costs more are not compared. */
const mostSensitivity = 5e-6;

export interface Trial {
  readonly family: string;
  readonly seed: number;
  /** At which the model was held against the reference. */
  readonly ranks: readonly number[];
  /** Largest difference of a logit at any of them, in standard deviations. */
  readonly error: number;
  /** What float32 costs here, in the same unit. */
  readonly sensitivity: number;
  /** What departs, by rank count; empty when all is well. */
  readonly departures: readonly string[];
  /** No prompt was found that allows a fair comparison. */
  readonly skipped: boolean;
}

/** Writes the checkpoint of a random model. */
export async function buildDrawnModel(family: string, seed: number, folder: string): Promise<void> {
  const { config, tensors } = drawModel(family, seed);
  const table = Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, sha256: '' }]);
  await buildCheckpoint({ seed, config, tensors: Object.fromEntries(table) }, folder);
}

export async function tryFamily(family: string, seed: number): Promise<Trial> {
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-trial-'));
  try {
    const model = path.join(folder, 'checkpoint');
    await buildDrawnModel(family, seed, model);
    return await tryModel(family, seed, model);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function tryModel(family: string, seed: number, model: string): Promise<Trial> {
  const made = findGolden(family, seed, readReferenceCheckpoint(model));
  if (!made) return { family, seed, ranks: [], error: 0, sensitivity: 0, departures: [], skipped: true };
  const golden = path.join(path.dirname(model), 'golden.json');
  await writeFile(golden, JSON.stringify(made.golden));
  const { sensitivity } = made;
  return {
    family,
    seed,
    skipped: false,
    sensitivity,
    ...(await holdAgainst(golden, model, Math.min(mostError, sensitivity * mostTimes))),
  };
}

/** Of the first prompt with wide decisions that float32 does not cost much. */
function findGolden(family: string, seed: number, checkpoint: ReferenceCheckpoint) {
  const random = new Random(seed, `prompt of ${family}`);
  const model = new ReferenceModel(checkpoint);
  for (let tries = 0; tries < promptTries; tries++) {
    const shape = { prompt: random.pick([7, 18, 33, 40]), continuation: { least: 4, most: 12 } };
    const golden = makeGolden(`${family} ${seed}`, model, random, shape);
    const sensitivity = golden ? sensitivityOf(checkpoint, golden) : Number.POSITIVE_INFINITY;
    if (golden && sensitivity <= mostSensitivity) return { golden, sensitivity };
  }
  return undefined;
}

async function holdAgainst(
  golden: string,
  model: string,
  limit: number,
): Promise<Pick<Trial, 'ranks' | 'error' | 'departures'>> {
  const ranks: number[] = [];
  const departures: string[] = [];
  let error = 0;
  try {
    for (const count of (await inspect(model)).model.legalRankCounts.filter((legal) => legal <= mostRanks)) {
      ranks.push(count);
      const report = await verify({ model, golden, ranks: count, transport: 'threads', weights: 'fp32' });
      error = Math.max(error, ...report.scenarios.map(({ logitError }) => logitError));
      departures.push(...departuresOf(report, limit));
    }
  } catch (cause) {
    departures.push(`${ranks.at(-1) ?? 0} ranks: ${TriremeError.from(cause).toLine()}`);
  }
  return { ranks, error, departures };
}

/** The first scenario that departs speaks for all. */
function departuresOf({ ranks, scenarios }: VerifyReport, limit: number): string[] {
  const first = scenarios.find(({ passed, firstDeparture, logitError }) => {
    return !passed || firstDeparture || logitError > limit;
  });
  if (!first) return [];
  const { scenario, logitError, argmaxDepartures, continuationEqual, firstDeparture } = first;
  const inside = firstDeparture
    ? `, layer ${firstDeparture.layer} ${firstDeparture.what} ${firstDeparture.error.toExponential(1)}`
    : '';
  const tokens = `${argmaxDepartures.length} other best tokens, continuation ${continuationEqual ? 'equal' : 'differs'}`;
  return [`${ranks} ranks, ${scenario}: ${logitError.toExponential(1)} std, ${tokens}${inside}`];
}
