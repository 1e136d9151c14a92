/**
 * Breaks one rule of a family at a time and shows that its golden notices, in a table:
 *   node test/mutations/main.ts [--only GOLDEN,GOLDEN] [--mutations NAME,NAME] [--jobs N] [--json]
 * Exit status 1 when a mutation survives, or was refused before anything was computed, or a golden departs without one.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { control, mutations } from './mutations.ts';
import { casesOf, MutationRun, type Outcome } from './run-mutations.ts';

const listed = (text: string): string[] => text.split(',').filter((item) => item !== '');

/** A mutation is to be noticed by its numbers; the control is not to be. */
function isAsItShould({ mutation, caught, refusal }: Outcome): boolean {
  return refusal === undefined && caught === (mutation !== control.name);
}

function line(outcome: Outcome): string {
  const { mutation, golden, caught, error, continuationEqual, refusal } = outcome;
  const size = error === null ? 'refused' : error.toExponential(1);
  const seen = caught ? 'caught' : mutation === control.name ? 'agrees' : 'SURVIVED';
  const verdict = refusal ?? `${seen}${continuationEqual ? '' : ', other tokens'}`;
  return [golden.padEnd(24), mutation.padEnd(32), size.padStart(8), verdict].join('  ');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: '' },
      mutations: { type: 'string', default: '' },
      jobs: { type: 'string', default: `${Math.min(4, availableParallelism())}` },
      json: { type: 'boolean', default: false },
    },
  });
  const [goldens, names] = [listed(values.only), listed(values.mutations)];
  const cases = casesOf([control, ...mutations])
    .filter(([name, golden]) => {
      return (goldens.length === 0 || goldens.includes(golden)) && (names.length === 0 || names.includes(name));
    })
    .sort(([, a], [, b]) => a.localeCompare(b));
  const outcomes: Outcome[] = [];
  await using run = new MutationRun();
  const waiting = cases.values();
  const work = async (): Promise<void> => {
    for (const [mutation, golden] of waiting) outcomes.push(await run.try(mutation, golden));
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, work));
  outcomes.sort((a, b) => a.golden.localeCompare(b.golden) || a.mutation.localeCompare(b.mutation));
  if (values.json) console.log(JSON.stringify(outcomes));
  else {
    for (const outcome of outcomes) console.log(line(outcome));
    const tried = outcomes.filter(({ mutation }) => mutation !== control.name);
    console.log(`${tried.filter(({ caught }) => caught).length} of ${tried.length} mutations caught`);
  }
  if (!outcomes.every(isAsItShould)) process.exitCode = 1;
}

await main();
