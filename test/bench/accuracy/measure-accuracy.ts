/** What becomes of a checkpoint's predictions in each package that can be made of it, beside the package in float32. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Activations, WeightFormat } from '../../../workers/models/manifest.ts';
import { slice } from '../../../workers/slicer/slice.ts';
import { computeLogits } from './compute-logits.ts';
import type { WindowLogits } from './logits-leader.ts';
import { divergence, meanDivergence, perplexity } from './predictions.ts';

export const ranks = 2;

export interface Subject {
  readonly name: string;
  /** Checkpoint folder or file. */
  readonly model: string;
  readonly vocabulary: number;
  readonly windows: readonly Int32Array[];
  /** The windows are text that the model was trained for, so that their perplexity means something. */
  readonly isText: boolean;
  /** Rows of logits that another implementation computed of the exactly dequantised weights, by position in the first window. */
  readonly expected?: ReadonlyMap<number, readonly number[]>;
}

export interface AccuracyRow {
  readonly subject: string;
  readonly weights: WeightFormat;
  readonly activations: Activations;
  /** As the package's provenance says it. */
  readonly quantisation: string;
  readonly perplexity: number | null;
  /** Mean divergence of all rows from those of the same checkpoint in float32, in nats; null for that package itself. */
  readonly divergence: number | null;
  /** Mean divergence from the rows of the other implementation. */
  readonly expectedDivergence: number | null;
}

interface Wanted {
  readonly weights: WeightFormat;
  readonly activations: Activations;
}

const requantised: readonly Wanted[] = [
  { weights: 'int8', activations: 'fp32' },
  { weights: 'int8', activations: 'int8' },
  { weights: 'int4', activations: 'fp32' },
  { weights: 'int4', activations: 'int8' },
];

/**
 * Float32 first. Then the integers of a checkpoint that has some which packages keep; else int8 and int4 made of its floats. Each with
 * rows in float32 (accuracy level 1) and in int8 (4), as served.
 */
export async function* measureAccuracy(subject: Subject, scratch: string): AsyncGenerator<AccuracyRow> {
  const exact = await run(subject, { weights: 'fp32', activations: 'fp32' }, scratch);
  yield rowOf(subject, exact, null);
  const kept = await run(subject, { weights: 'native', activations: 'int8' }, scratch);
  // Products in int8 are products with kept integers: other matrices of such a package are floats.
  const keepsIntegers = kept.activations === 'int8';
  const others = keepsIntegers ? [{ weights: 'native', activations: 'fp32' } as const] : requantised;
  for (const wanted of others) yield rowOf(subject, await run(subject, wanted, scratch), exact.logits);
  if (keepsIntegers) yield rowOf(subject, kept, exact.logits);
}

interface Outcome extends Wanted {
  readonly quantisation: string;
  readonly logits: WindowLogits;
}

async function run({ model, windows }: Subject, { weights, activations }: Wanted, scratch: string): Promise<Outcome> {
  const packagePath = path.join(scratch, 'package');
  const manifest = await slice({ model, out: packagePath, ranks, weights, activations, companions: false });
  const logits = await computeLogits({ packagePath, ranks }, windows);
  await rm(packagePath, { recursive: true });
  return { weights, activations: manifest.activations, quantisation: manifest.provenance.quantisation, logits };
}

function rowOf(subject: Subject, { logits, ...made }: Outcome, exact: WindowLogits | null): AccuracyRow {
  const { name, windows, isText, vocabulary } = subject;
  return {
    subject: name,
    ...made,
    perplexity: isText ? perplexity(logits, windows) : null,
    divergence: exact && meanDivergence(exact, logits, vocabulary),
    expectedDivergence: expectedDivergence(subject, logits),
  };
}

function expectedDivergence({ expected, vocabulary }: Subject, [first]: WindowLogits): number | null {
  if (!expected) return null;
  const divergences = [...expected].map(([position, row]) =>
    divergence(Float32Array.from(row), first!.subarray(position * vocabulary, (position + 1) * vocabulary)),
  );
  return divergences.reduce((sum, value) => sum + value, 0) / divergences.length;
}
