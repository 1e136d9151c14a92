import { expect, test } from 'vitest';
import { engineOverNaiveModel, request, runToEnd, tokensOf } from '../../test/fakes/engine-over-naive-model.ts';
import type { StepPlan } from './step.ts';

/** A plan in short: slot:first+count of every chunk. */
const chunksOf = (plan: StepPlan | undefined) =>
  plan?.chunks.map(({ slot, firstPosition, tokens }) => `${slot}:${firstPosition}+${tokens.length}`).join(' ');

test('a long prompt goes in chunks beside sequences that decode at every step', () => {
  const { engine, model } = engineOverNaiveModel({ stepTokens: 16 });
  engine.submit(request('a', 4, 6));
  engine.step();
  engine.submit(request('b', 40, 2));
  runToEnd(engine);
  expect(model.plans.map(chunksOf)).toEqual([
    '0:0+4',
    '0:4+1 1:0+15',
    '0:5+1 1:15+15',
    '0:6+1 1:30+10',
    '0:7+1 1:40+1',
    '0:8+1',
  ]);
});

test('a prompt goes on by a token a step when decoding sequences take the rest of the budget', () => {
  const { engine, model } = engineOverNaiveModel({ maxSequences: 4, stepTokens: 4 });
  for (const key of ['a', 'b', 'c']) engine.submit(request(key, 1, 9));
  engine.step();
  engine.submit(request('d', 3, 1));
  const outputs = [...engine.step().entries, ...engine.step().entries, ...engine.step().entries];
  expect(model.plans.slice(1, 4).map(chunksOf)).toEqual([
    '0:1+1 1:1+1 2:1+1 3:0+1',
    '0:2+1 1:2+1 2:2+1 3:1+1',
    '0:3+1 1:3+1 2:3+1 3:2+1',
  ]);
  expect(tokensOf(outputs, 'd')).toHaveLength(1);
});

test('sequences are admitted in order of arrival: a small one does not overtake a large one', () => {
  const { engine, model } = engineOverNaiveModel({ kvBlocks: 8 });
  engine.submit(request('a', 70, 9));
  engine.submit(request('b', 60, 1));
  engine.submit(request('c', 1, 1));
  engine.step();
  engine.step();
  engine.step();
  expect(engine.status()).toMatchObject({ running: 1, waiting: 2 });
  const order = runToEnd(engine).filter(({ finish }) => finish);
  expect(order.map(({ key }) => key)).toEqual(['a', 'b', 'c']);
  expect(model.plans.every(({ release }) => release.length <= 1)).toBe(true);
});

test('a choice that waits for its sibling to compute the prompt holds up nobody behind it', () => {
  const { engine, model } = engineOverNaiveModel({ stepTokens: 32 });
  engine.submit(request('a', 40, 2, { n: 2 }));
  engine.submit(request('b', 10, 2));
  for (let step = 0; step < 3; step++) engine.step();
  expect(model.plans.map(chunksOf)).toEqual(['0:0+32', '0:32+8 1:0+10', '0:40+1 1:10+1 2:39+1']);
});

test('when blocks run out the youngest sequence is preempted and resumes with the same tokens', () => {
  const roomy = engineOverNaiveModel({ kvBlocks: 12 });
  const tight = engineOverNaiveModel({ kvBlocks: 6 });
  const streams = [roomy, tight].map(({ engine }) => {
    for (const key of ['a', 'b', 'c']) engine.submit(request(key, 14, 40));
    const outputs = runToEnd(engine);
    return ['a', 'b', 'c'].map((key) => tokensOf(outputs, key));
  });
  expect(streams[1]).toEqual(streams[0]);
  expect(roomy.engine.status().preemptions).toBe(0);
  expect(tight.engine.status().preemptions).toBeGreaterThan(0);
  // The oldest has slot 0 from the first step to its 40th, one token each.
  const first = tight.model.plans
    .slice(0, 40)
    .map(({ chunks }) => chunks.find(({ slot }) => slot === 0)?.firstPosition);
  expect(first).toEqual([0, ...Array.from({ length: 39 }, (_, index) => 14 + index)]);
});

test('an admitted sequence is not preempted in the 16 steps after, so blocks do not wander to and fro', () => {
  const { engine, model } = engineOverNaiveModel({ kvBlocks: 9, maxSequences: 6 });
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) engine.submit(request(key, 10, 90));
  runToEnd(engine);
  const preemptions = engine.status().preemptions;
  expect(preemptions).toBeGreaterThan(3);
  const started = new Map<number, number>();
  for (const { step, release, chunks } of model.plans) {
    for (const slot of release) expect(step - started.get(slot)!).toBeGreaterThanOrEqual(16);
    for (const { slot, firstPosition } of chunks) if (firstPosition === 0) started.set(slot, step);
  }
});

test('one sequence may use every block', () => {
  const { engine } = engineOverNaiveModel({ kvBlocks: 3 });
  engine.submit(request('a', 5, 43));
  expect(tokensOf(runToEnd(engine), 'a')).toHaveLength(43);
});

test('the same calls give the same plans', () => {
  const plans = [0, 1].map(() => {
    const { engine, model } = engineOverNaiveModel({ kvBlocks: 6, maxSequences: 3 });
    engine.submit(request('a', 14, 30, { n: 2 }));
    engine.step();
    engine.submit(request('b', 40, 5));
    for (let step = 0; step < 5; step++) engine.step();
    engine.cancel('a', [1]);
    engine.submit(request('c', 3, 30));
    runToEnd(engine);
    return model.plans;
  });
  expect(plans[0]).toEqual(plans[1]);
});
