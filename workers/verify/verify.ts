/** Slices a checkpoint into a folder that is gone afterwards, runs it, and holds it against a golden. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { decodeUtf8 } from '#platform/strict-json.ts';
import type { ServingSettings } from '#proto/records.ts';
import { blockPositions } from '../engine/block-pool.ts';
import type { Activations, WeightFormat } from '../models/manifest.ts';
import { slice } from '../slicer/slice.ts';
import type { ScenarioReport } from './comparison.ts';
import { type Golden, parseGolden } from './golden.ts';
import { runJob, type Transport } from './run-job.ts';
import { needsOf } from './scenarios.ts';
import type { VerifyJob } from './verify-leader.ts';

export type { Transport } from './run-job.ts';

/** In standard deviations of the golden's logits: what two float32 implementations may differ by. */
const floatTolerance = 1e-4;

export interface VerifyOptions {
  /** Folder of the checkpoint. */
  readonly model: string;
  /** File of expected values. */
  readonly golden: string;
  readonly ranks: number;
  /** tcp: every rank in a process of its own. */
  readonly transport: Transport;
  readonly weights: WeightFormat;
  /** How rows enter products with matrices in blocks; int8, as packages are served, when it is not given. */
  readonly activations?: Activations;
  readonly signal?: AbortSignal;
}

export interface VerifyReport {
  readonly golden: string;
  readonly ranks: number;
  readonly transport: Transport;
  readonly weights: WeightFormat;
  readonly activations: Activations;
  /** Of logit errors; null for numbers that are rounded again, whose errors are told but have no limit. */
  readonly tolerance: number | null;
  readonly passed: boolean;
  readonly scenarios: readonly ScenarioReport[];
}

/**
 * Weights that are what the checkpoint means, multiplied in float32, pass when every scenario is within the tolerance and chooses the
 * golden's tokens. Weights or rows that are rounded compute another model, so they pass when the scenarios agree with each other, rows
 * of int8 to the bit of their largest error: a token's logits must not depend on how it got there. Errors: those of slice(),
 * INVALID_ARGUMENT for a file that is no golden, those of the ranks; the signal's reason.
 */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const golden = parseGolden(await readGoldenText(options.golden), options.golden);
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-verify-'));
  try {
    return await verifyIn(folder, golden, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function verifyIn(folder: string, golden: Golden, options: VerifyOptions): Promise<VerifyReport> {
  const { model, ranks, transport, weights, signal } = options;
  const wanted = options.activations ?? 'int8';
  const packagePath = path.join(folder, 'package');
  const abort = signal ? { signal } : {};
  const format = { weights, activations: wanted, companions: false };
  const { activations } = await slice({ model, out: packagePath, ranks, ...format, ...abort });
  const isExact = (weights === 'fp32' || weights === 'native') && activations === 'fp32';
  const data: VerifyJob = { golden, tolerance: floatTolerance };
  const job = { module: new URL('./verify-leader.ts', import.meta.url).href, data };
  const serving = servingFor(golden);
  const result = await runJob({ packagePath, ranks, transport, serving, job, ...abort });
  const reports = result as ScenarioReport[];
  const scenarios = isExact ? reports : judgeRounded(reports, activations === 'int8' ? 0 : floatTolerance);
  return {
    golden: golden.name,
    ranks,
    transport,
    weights,
    activations,
    tolerance: isExact ? floatTolerance : null,
    passed: scenarios.every(({ passed }) => passed),
    scenarios,
  };
}

/** `tolerance`: by how much the errors of scenarios may differ. */
function judgeRounded(scenarios: readonly ScenarioReport[], tolerance: number): readonly ScenarioReport[] {
  const first = scenarios[0];
  return scenarios.map((scenario) => {
    const agrees =
      first !== undefined &&
      Math.abs(scenario.logitError - first.logitError) <= tolerance &&
      scenario.continuationEqual === first.continuationEqual &&
      scenario.argmaxDepartures.join() === first.argmaxDepartures.join();
    return { ...scenario, passed: agrees && Number.isFinite(scenario.logitError) };
  });
}

/** As little as the scenarios need. */
function servingFor(golden: Golden): ServingSettings {
  const { rows, slots } = needsOf(golden);
  const blocks = Math.ceil((golden.prompt.length + golden.continuation.length) / blockPositions);
  return { kvBlocks: slots * blocks, maxSequences: slots, stepTokens: rows, maxWaiting: 0, adapters: undefined };
}

async function readGoldenText(file: string): Promise<string> {
  try {
    const bytes = await readPlainFile(file);
    if (!bytes) throw new Error('there is no such file');
    return decodeUtf8(bytes);
  } catch (cause) {
    throw new TriremeError('INVALID_ARGUMENT', `cannot read the golden ${file}: ${(cause as Error).message}`, {
      remedy: 'Name a file like those in test/goldens',
      cause,
    });
  }
}
