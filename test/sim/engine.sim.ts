/**
 * The engine's properties over many more scenarios than the tests have time for. SIM_SEEDS says how many seeds (default 20,
 * each 200 scenarios), SIM_SEED where to begin, so that a failure can be run again; left out, the day decides.
 */
import fc from 'fast-check';
import { test } from 'vitest';
import { runFailingScenario, runScenario, scenarios } from '../fakes/engine-scenario.ts';

const seedCount = Number(process.env.SIM_SEEDS ?? 20);
const firstSeed = Number(process.env.SIM_SEED ?? Math.floor(Date.now() / 86_400_000) * 1000);

for (let seed = firstSeed; seed < firstSeed + seedCount; seed++) {
  test(`streams equal lone generation and everything is given back (SIM_SEED=${seed} SIM_SEEDS=1)`, () => {
    fc.assert(
      fc.property(scenarios, (scenario) => {
        runScenario(scenario);
      }),
      { seed, numRuns: 150 },
    );
    fc.assert(
      fc.property(scenarios, fc.integer({ min: 1, max: 80 }), (scenario, failAtStep) => {
        runFailingScenario(scenario, failAtStep);
      }),
      { seed, numRuns: 50 },
    );
  });
}
