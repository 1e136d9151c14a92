import fc from 'fast-check';
import { expect, test } from 'vitest';
import { engineSettings, runFailingScenario, runScenario, scenarios } from '../../test/fakes/engine-scenario.ts';

test('whatever arrives, is cancelled, preempted or resumed: every stream equals lone generation, everything is given back', () => {
  let preemptions = 0;
  let refusals = 0;
  fc.assert(
    fc.property(scenarios, (scenario) => {
      const report = runScenario(scenario);
      preemptions += report.preemptions;
      refusals += report.refusals;
    }),
    { seed: 20_260_101, numRuns: 400 },
  );
  // The property means little unless scenarios get into trouble.
  expect(preemptions).toBeGreaterThan(100);
  expect(refusals).toBeGreaterThan(100);
});

test('the same requests under other settings of the engine give the same tokens', () => {
  const roomy = fc.tuple(scenarios, engineSettings, engineSettings);
  fc.assert(
    fc.property(roomy, ([scenario, one, other]) => {
      // The context limit is part of the request's outcome, so both pools hold at least one context.
      const kvBlocks = Math.ceil(scenario.contextLength / 16);
      const requests = scenario.requests.map((request) => ({ ...request, cancel: undefined }));
      const [first, second] = [one, other].map((settings) =>
        runScenario({ ...scenario, requests, settings: { ...settings, kvBlocks: kvBlocks + settings.kvBlocks } }),
      );
      expect(first!.streams).toEqual(second!.streams);
    }),
    { seed: 20_260_102, numRuns: 60 },
  );
});

test('a runner that fails at any step undoes that step, and everything in flight is named and given back', () => {
  fc.assert(
    fc.property(scenarios, fc.integer({ min: 1, max: 80 }), (scenario, failAtStep) => {
      runFailingScenario(scenario, failAtStep);
    }),
    { seed: 20_260_103, numRuns: 100 },
  );
});
