/**
 * Row invariance of random quantised models: bits of a position alone, in batches and in chunks:
 *   node test/reference/fuzz-bits.ts [--first SEED] [--seeds COUNT] [--only FAMILY,FAMILY]
 * Prints a line for each model; exit status 1 when one departs.
 */
import { parseArgs } from 'node:util';
import { TriremeError } from '../../services/platform/errors.ts';
import { type BitsTrial, tryBits } from './bits-trial.ts';
import { drawnFamilies } from './draw-model.ts';

function lineOf({ family, seed, weights, ranks, compared, departures }: BitsTrial): string {
  const verdict = departures.length === 0 ? 'ok' : 'departs';
  return `${family.padEnd(18)}  ${`${seed}`.padStart(6)}  ${verdict.padEnd(8)}  ${weights}  ${ranks} ranks  ${compared} positions`;
}

/** Prints how it went. True when all bits are the same. */
async function passes(family: string, seed: number): Promise<boolean> {
  try {
    const trial = await tryBits(family, seed);
    for (const line of [lineOf(trial), ...trial.departures.map((text) => `    ${text}`)]) console.log(line);
    return trial.departures.length === 0;
  } catch (cause) {
    console.log(`${family.padEnd(18)}  ${`${seed}`.padStart(6)}  fails     ${TriremeError.from(cause).toLine()}`);
    return false;
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      first: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '2' },
      only: { type: 'string', default: '' },
    },
  });
  const families = values.only === '' ? drawnFamilies : values.only.split(',');
  for (let seed = Number(values.first); seed < Number(values.first) + Number(values.seeds); seed++) {
    for (const family of families) if (!(await passes(family, seed))) process.exitCode = 1;
  }
}

if (import.meta.main) await main();
