/**
 * Random models of every family against the reference, at every legal rank count up to six:
 *   node test/reference/fuzz.ts [--first SEED] [--seeds COUNT] [--only FAMILY,FAMILY] [--json]
 * Prints a line for each model; exit status 1 when one departs. `--only FAMILY --first SEED --seeds 1` shows it again.
 */
import { parseArgs } from 'node:util';
import { drawnFamilies } from './draw-model.ts';
import { type Trial, tryFamily } from './family-trial.ts';

function lineOf({ family, seed, ranks, error, sensitivity, departures, skipped }: Trial): string {
  const verdict = skipped ? 'skipped' : departures.length === 0 ? 'ok' : 'departs';
  const cells = [family.padEnd(18), `${seed}`.padStart(6), verdict.padEnd(8), ranks.join(' ').padEnd(12)];
  const errors = [error, sensitivity].map((size) => (skipped ? '' : size.toExponential(1)));
  return [...cells, ...errors].join('  ').trimEnd();
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      first: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '5' },
      only: { type: 'string', default: '' },
      json: { type: 'boolean', default: false },
    },
  });
  const families = values.only === '' ? drawnFamilies : values.only.split(',');
  const trials: Trial[] = [];
  if (!values.json)
    console.log('family                seed  verdict   ranks         error, and what float32 costs, in std');
  for (let i = 0; i < Number(values.seeds); i++) {
    for (const family of families) {
      const trial = await tryFamily(family, Number(values.first) + i);
      trials.push(trial);
      if (values.json) console.log(JSON.stringify(trial));
      else for (const line of [lineOf(trial), ...trial.departures.map((text) => `    ${text}`)]) console.log(line);
    }
  }
  const departing = trials.filter(({ departures }) => departures.length > 0);
  const skipped = trials.filter((trial) => trial.skipped);
  const held = trials.length - skipped.length;
  console.error(`${held - departing.length} of ${held} models agree, ${skipped.length} had no fair prompt`);
  if (departing.length > 0) process.exitCode = 1;
}

if (import.meta.main) await main();
