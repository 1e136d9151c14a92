/**
 * Kills and interrupts pulls and slicings at random points, runs them again, and compares what is there in the end:
 *   npm run fuzz:kills [-- --seed 1 --slices 50 --pulls 50]
 * Prints what the kills left, and whatever was not as it should be; exit status 1 then. The same seed draws the same points.
 */
import { parseArgs } from 'node:util';
import type { KillOutcome } from './killed-process.ts';
import { killedPulls, pullStages } from './killed-pulls.ts';
import { type KilledSlice, killedSlices, sliceStages } from './killed-slices.ts';

interface Row {
  readonly stage: string;
  readonly killed: number;
  readonly cancelled: number;
  readonly whole: number;
}

function tableOf(stages: readonly string[], outcomes: readonly KillOutcome<string, unknown>[]): readonly Row[] {
  return stages.map((stage) => {
    const here = outcomes.filter((outcome) => outcome.stage === stage);
    const count = (end: string): number => here.filter((outcome) => outcome.end === end).length;
    return { stage, killed: count('killed'), cancelled: count('cancelled'), whole: count('whole') };
  });
}

function printTable(title: string, rows: readonly Row[]): void {
  console.log(`${title.padEnd(34)} killed  cancelled  came to its end before`);
  for (const { stage, killed, cancelled, whole } of rows) {
    console.log(
      `  left: ${stage.padEnd(26)} ${`${killed}`.padStart(6)} ${`${cancelled}`.padStart(10)} ${`${whole}`.padStart(8)}`,
    );
  }
}

function printResult(what: string, trials: readonly { readonly failures: readonly string[] }[], also = ''): boolean {
  const equal = trials.filter(({ failures }) => failures.length === 0).length;
  console.log(`${equal} of ${trials.length} ${what} ended in the same bytes${also}\n`);
  for (const trial of trials) if (trial.failures.length > 0) console.log(JSON.stringify(trial));
  return equal === trials.length;
}

function formatsOf(slices: readonly KilledSlice[]): string {
  return [...new Set(slices.map(({ scenario }) => scenario.source.name))].sort().join(', ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seed: { type: 'string', default: '1' },
      slices: { type: 'string', default: '50' },
      pulls: { type: 'string', default: '50' },
    },
  });
  const seed = Number(values.seed);
  console.log(`seed ${seed}`);
  const pulls = await killedPulls(seed, Number(values.pulls));
  printTable(
    'kills of pulls',
    tableOf(
      pullStages,
      pulls.flatMap(({ kills }) => kills),
    ),
  );
  const arePullsEqual = printResult('pulls', pulls);
  const slices = await killedSlices(seed, Number(values.slices));
  printTable(
    'kills of slicings',
    tableOf(
      sliceStages,
      slices.flatMap(({ kills }) => kills),
    ),
  );
  const resumed = slices.reduce((sum, { resumedRanks }) => sum + resumedRanks, 0);
  const areSlicesEqual = printResult('slicings', slices, `, ${resumed} ranks were taken over; of ${formatsOf(slices)}`);
  if (!arePullsEqual || !areSlicesEqual) process.exitCode = 1;
}

if (import.meta.main) await main();
