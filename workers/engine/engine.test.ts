import { expect, test } from 'vitest';
import {
  endlessGreedy,
  endToken,
  engineOverNaiveModel,
  request,
  runToEnd,
  tokensOf,
  vocabularySize,
} from '../../test/fakes/engine-over-naive-model.ts';
import { generateAlone } from '../../test/fakes/naive-generation.ts';
import { naiveLogits } from '../../test/fakes/naive-model.ts';
import type { EngineRequest } from './request.ts';
import { neutralSettings, type SamplingSettings } from './sampling-settings.ts';

const alone = ({ prompt, settings }: EngineRequest, choice = 0) =>
  generateAlone({ prompt: [...prompt], choice, settings, endTokens: [endToken], vocabularySize, contextLimit: 128 });

test('a request yields one token a step, each at the next position, and ends exactly once', () => {
  const { engine } = engineOverNaiveModel();
  const sent = request('a', 5, 4);
  expect(engine.submit(sent)).toEqual({ kind: 'accepted' });
  const outputs = runToEnd(engine);
  expect(outputs.map(({ firstPosition }) => firstPosition)).toEqual([0, 1, 2, 3]);
  expect(outputs.map(({ finish }) => finish)).toEqual([undefined, undefined, undefined, 'length']);
  expect(tokensOf(outputs, 'a')).toEqual(alone(sent).tokens);
});

test('an engine without work runs nothing', () => {
  const { engine, model } = engineOverNaiveModel();
  expect(engine.step()).toEqual({ step: 0, entries: [] });
  expect(model.plans).toEqual([]);
});

test('a stop token is the last token that comes out', () => {
  const { engine } = engineOverNaiveModel();
  const free = request('a', 5, 12);
  const stop = alone(free).tokens[6]!;
  engine.submit({ ...free, settings: { ...free.settings, stopTokens: [stop] } });
  const outputs = runToEnd(engine);
  const expected = alone(free).tokens;
  expect(tokensOf(outputs, 'a')).toEqual(expected.slice(0, expected.indexOf(stop) + 1));
  expect(outputs.at(-1)!.finish).toBe('stop');
});

test("the model's end token stops a sequence unless it is ignored", () => {
  const insist = { ...endlessGreedy, logitBias: [{ token: endToken, bias: 100 }], maxTokens: 3 };
  const { engine } = engineOverNaiveModel();
  engine.submit(request('a', 5, 3, { settings: { ...insist, ignoreEos: false } }));
  engine.submit(request('b', 5, 3, { settings: insist }));
  const outputs = runToEnd(engine);
  expect(tokensOf(outputs, 'a')).toEqual([endToken]);
  expect(tokensOf(outputs, 'b')).toEqual([endToken, endToken, endToken]);
});

test('min_tokens bars end and stop tokens for exactly that many tokens', () => {
  const { engine } = engineOverNaiveModel();
  const settings: SamplingSettings = {
    ...neutralSettings,
    temperature: 0,
    logitBias: [
      { token: endToken, bias: 100 },
      { token: 9, bias: 50 },
    ],
    stopTokens: [9],
    minTokens: 4,
  };
  engine.submit(request('a', 5, 3, { settings }));
  const tokens = tokensOf(runToEnd(engine), 'a');
  expect(tokens).toHaveLength(5);
  expect(tokens.slice(0, 4).some((token) => token === endToken || token === 9)).toBe(false);
  expect(tokens[4]).toBe(endToken);
});

test('a sequence ends when prompt and completion fill the context', () => {
  const { engine } = engineOverNaiveModel({ contextLength: 20 });
  engine.submit(request('a', 17, 50));
  const outputs = runToEnd(engine);
  expect(tokensOf(outputs, 'a')).toHaveLength(3);
  expect(outputs.at(-1)!.finish).toBe('length');
});

test('where the blocks hold less than the context, they are the limit', () => {
  const { engine } = engineOverNaiveModel({ contextLength: 100, kvBlocks: 2 });
  expect(engine.contextLimit).toBe(32);
  engine.submit(request('a', 30, 50));
  expect(tokensOf(runToEnd(engine), 'a')).toHaveLength(2);
  expect(engine.submit(request('b', 32, 1))).toMatchObject({ code: 'PROMPT_TOO_LONG' });
});

test('emitted tokens are computed again, count as generated, and do not come out again', () => {
  const sent = request('a', 9, 20, {
    settings: { ...neutralSettings, ignoreEos: true, maxTokens: 20, seed: 99n, frequencyPenalty: 1 },
  });
  const whole = alone(sent).tokens;
  const { engine } = engineOverNaiveModel();
  engine.submit({ ...sent, emitted: [Int32Array.from(whole.slice(0, 13))] });
  const outputs = runToEnd(engine);
  expect(outputs[0]!.firstPosition).toBe(13);
  expect(tokensOf(outputs, 'a')).toEqual(whole.slice(13));
});

test('choices that ended in an earlier attempt are neither computed nor output', () => {
  const { engine } = engineOverNaiveModel();
  engine.submit(request('a', 4, 3, { n: 3, emitted: [Int32Array.of(1), Int32Array.of(2)], finished: [0, 2] }));
  expect(engine.status()).toMatchObject({ waiting: 1 });
  const outputs = runToEnd(engine);
  expect(new Set(outputs.map(({ choice }) => choice))).toEqual(new Set([1]));
  expect(outputs[0]?.firstPosition).toBe(1);
  expect(engine.submit(request('b', 4, 3, { n: 2, finished: [0, 1] }))).toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('a choice whose emitted tokens are complete ends without a further token and without a forward pass', () => {
  const { engine, model } = engineOverNaiveModel();
  const stopped = { ...endlessGreedy, stopTokens: [5] };
  engine.submit(request('a', 4, 3, { emitted: [Int32Array.of(1, 2, 3)] }));
  engine.submit(request('b', 4, 3, { emitted: [Int32Array.of(1, 5)], settings: stopped }));
  expect(engine.idle).toBe(false);
  const { entries } = engine.step();
  expect(entries).toMatchObject([
    { key: 'a', firstPosition: 3, tokens: [], finish: 'length' },
    { key: 'b', firstPosition: 2, tokens: [], finish: 'stop' },
  ]);
  expect(model.plans).toEqual([]);
  expect(engine.idle).toBe(true);
});

test('n choices equal n lone requests with the same seed and choice, and compute the prompt once', () => {
  const { engine, model } = engineOverNaiveModel({ stepTokens: 16 });
  const sent = request('a', 40, 6, { n: 3, settings: { ...neutralSettings, ignoreEos: true, maxTokens: 6, seed: 5n } });
  engine.submit(sent);
  const outputs = runToEnd(engine);
  const streams = [0, 1, 2].map((choice) => tokensOf(outputs, 'a', choice));
  expect(streams).toEqual([0, 1, 2].map((choice) => alone(sent, choice).tokens));
  expect(new Set(streams.map(String)).size).toBe(3);
  // The prompt, its last row once more for each other choice, then every token but the last of each.
  expect(model.computedTokens).toBe(40 + 2 + 3 * 5);
  expect(model.plans.flatMap(({ copies }) => copies).map(({ positions }) => positions)).toEqual([39, 39]);
  expect(engine.status().promptTokens).toBe(40);
});

test('with pooling a request ends with its embedding, in chunks, beside others and after preemption', () => {
  for (const pooling of ['last', 'mean'] as const) {
    const { engine, model } = engineOverNaiveModel({ stepTokens: 16, kvBlocks: 4 });
    const prompt = request('a', 37, 1).prompt;
    engine.submit(request('b', 20, 25));
    engine.submit({ ...request('a', 37, 1), pooling });
    const outputs = runToEnd(engine);
    const rows = Array.from(prompt, (_, i) => naiveLogits([...prompt.subarray(0, i + 1)], vocabularySize));
    const expected = rows[0]!.map((_, i) => {
      const total = rows.reduce((sum, row) => sum + row[i]!, 0);
      return pooling === 'mean' ? total / rows.length : rows.at(-1)![i]!;
    });
    const [output] = outputs.filter(({ key }) => key === 'a');
    expect(output).toMatchObject({ tokens: [], finish: 'stop', error: undefined });
    expect([...output!.embedding!].map((value) => value.toFixed(4))).toEqual(
      [...expected].map((value) => value.toFixed(4)),
    );
    expect(outputs.filter(({ key }) => key === 'a')).toHaveLength(1);
    expect(tokensOf(outputs, 'b')).toHaveLength(25);
    expect(engine.status()).toMatchObject({ promptTokens: 57, generatedTokens: 25, running: 0 });
    expect(model.plans.length).toBeGreaterThan(2);
  }
});

test('an embedding of several choices, and one that is no number, end in errors', () => {
  const { engine } = engineOverNaiveModel({ poison: 3 });
  expect(engine.submit({ ...request('a', 5, 1), n: 2, pooling: 'last' })).toMatchObject({ code: 'INVALID_ARGUMENT' });
  engine.submit({ ...request('b', 5, 1), prompt: Int32Array.of(3, 4), pooling: 'mean' });
  expect(runToEnd(engine)).toMatchObject([{ key: 'b', error: { code: 'RUNTIME_ERROR' } }]);
});

test('choices of a model that cannot copy compute the prompt each, and give the same tokens', () => {
  const { engine, model } = engineOverNaiveModel({ stepTokens: 16, canCopy: false });
  const sent = request('a', 40, 6, { n: 3, settings: { ...neutralSettings, ignoreEos: true, maxTokens: 6, seed: 5n } });
  engine.submit(sent);
  const outputs = runToEnd(engine);
  const streams = [0, 1, 2].map((choice) => tokensOf(outputs, 'a', choice));
  expect(streams).toEqual([0, 1, 2].map((choice) => alone(sent, choice).tokens));
  expect(model.computedTokens).toBe(3 * (40 + 5));
});

test('when the choice that computed the prompt is cancelled half-way, another one computes it', () => {
  const { engine } = engineOverNaiveModel({ stepTokens: 16 });
  const sent = request('a', 40, 3, { n: 2 });
  engine.submit(sent);
  engine.step();
  engine.cancel('a', [0]);
  const outputs = runToEnd(engine);
  expect(tokensOf(outputs, 'a', 0)).toEqual([]);
  expect(tokensOf(outputs, 'a', 1)).toEqual(alone(sent).tokens);
});

test('greedy without extras asks for the best token, inner chunks for nothing, sampling for one row', () => {
  const { engine, model } = engineOverNaiveModel({ stepTokens: 8 });
  engine.submit(request('a', 12, 2));
  runToEnd(engine);
  engine.submit(request('b', 3, 1, { settings: neutralSettings }));
  engine.submit(request('c', 3, 1, { settings: { ...endlessGreedy, maxTokens: 1, logprobs: 0 } }));
  engine.cancel('b');
  runToEnd(engine);
  expect(model.plans.map(({ chunks }) => chunks.map(({ logits }) => logits))).toEqual([
    ['none'],
    ['best'],
    ['best'],
    ['last'],
  ]);
});

test('logits that are not finite end their sequence with an error and leave the others alone', () => {
  const { engine } = engineOverNaiveModel({ poison: 33 });
  const healthy = request('a', 6, 4, {
    settings: { ...endlessGreedy, logitBias: [{ token: 33, bias: -100 }], maxTokens: 4 },
  });
  engine.submit(healthy);
  engine.submit(request('b', 2, 4, { prompt: Int32Array.of(1, 33) }));
  engine.submit(request('c', 2, 4, { prompt: Int32Array.of(33), settings: neutralSettings }));
  const outputs = runToEnd(engine);
  for (const key of ['b', 'c']) {
    const [only, ...more] = outputs.filter((output) => output.key === key);
    expect(only).toMatchObject({ tokens: [], finish: undefined, error: { code: 'RUNTIME_ERROR' } });
    expect(more).toEqual([]);
  }
  expect(tokensOf(outputs, 'a')).toEqual(alone(healthy).tokens);
});

test('a cancelled request frees its blocks at once and never comes out again', () => {
  const { engine, model } = engineOverNaiveModel();
  engine.submit(request('a', 30, 20));
  engine.submit(request('b', 5, 3));
  engine.step();
  engine.cancel('a');
  expect(engine.status().freeBlocks).toBe(15);
  expect(tokensOf(runToEnd(engine), 'a')).toEqual([]);
  expect(model.plans[1]!.release).toEqual([0]);
  engine.cancel('a');
  engine.cancel('nobody');
});

test('a runner that fails undoes the step; everything in flight is named and the engine takes nothing more', () => {
  const { engine } = engineOverNaiveModel({ failAtStep: 3 });
  engine.submit(request('a', 20, 9, { n: 2 }));
  engine.submit(request('b', 60, 9));
  engine.step();
  engine.step();
  engine.cancel('b');
  engine.submit(request('c', 4, 9));
  const before = engine.status();
  expect(() => engine.step()).toThrow('fails as told');
  expect(engine.status()).toEqual(before);
  expect(engine.abortAll()).toEqual([
    { key: 'a', choice: 0 },
    { key: 'a', choice: 1 },
    { key: 'c', choice: 0 },
  ]);
  expect(engine.idle).toBe(true);
  expect(engine.status()).toMatchObject({ running: 0, waiting: 0, freeBlocks: 16, freeSequences: 4 });
  expect(engine.submit(request('d', 4, 9))).toMatchObject({ code: 'UNAVAILABLE' });
  expect(() => engine.step()).toThrow('failed in an earlier step');
});

test('the load counts sequences, blocks and tokens', () => {
  const { engine } = engineOverNaiveModel({ maxSequences: 2 });
  for (const key of ['a', 'b', 'c']) engine.submit(request(key, 17, 2));
  engine.step();
  expect(engine.status()).toEqual({
    step: 1,
    running: 2,
    waiting: 1,
    freeSequences: 0,
    freeBlocks: 12,
    totalBlocks: 16,
    generatedTokens: 1,
    promptTokens: 17,
    preemptions: 0,
  });
  runToEnd(engine);
  expect(engine.status()).toMatchObject({
    running: 0,
    waiting: 0,
    freeBlocks: 16,
    generatedTokens: 6,
    promptTokens: 51,
  });
});

test('more sequences than may run and wait are refused with NO_ROOM, and taken again when some have ended', () => {
  const { engine } = engineOverNaiveModel({ maxSequences: 2, maxWaiting: 1 });
  expect(engine.submit(request('a', 4, 2, { n: 2 })).kind).toBe('accepted');
  expect(engine.submit(request('b', 4, 2, { n: 2 }))).toMatchObject({ code: 'NO_ROOM' });
  expect(engine.submit(request('c', 4, 2)).kind).toBe('accepted');
  expect(engine.submit(request('d', 4, 2))).toMatchObject({ code: 'NO_ROOM' });
  runToEnd(engine);
  expect(engine.submit(request('d', 4, 2)).kind).toBe('accepted');
});

test('a key may be used again after its request ended, not before', () => {
  const { engine } = engineOverNaiveModel();
  engine.submit(request('a', 4, 2));
  expect(engine.submit(request('a', 4, 2))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  runToEnd(engine);
  expect(engine.submit(request('a', 4, 2)).kind).toBe('accepted');
});

test('requests that could never run are refused with a reason', () => {
  const { engine } = engineOverNaiveModel();
  const refusals: [Partial<EngineRequest>, string, RegExp][] = [
    [{ prompt: new Int32Array(0) }, 'INVALID_ARGUMENT', /prompt is empty/],
    [{ prompt: new Int32Array(128) }, 'PROMPT_TOO_LONG', /128 tokens/],
    [{ prompt: Int32Array.of(3, 40) }, 'INVALID_ARGUMENT', /token id 40/],
    [{ prompt: Int32Array.of(-1) }, 'INVALID_ARGUMENT', /token id -1/],
    [{ emitted: [Int32Array.of(40)] }, 'INVALID_ARGUMENT', /token id 40/],
    [{ emitted: [Int32Array.of(1), Int32Array.of(1)] }, 'INVALID_ARGUMENT', /2 choices, n is 1/],
    [{ n: 0 }, 'INVALID_ARGUMENT', /n must be/],
    [{ n: 13 }, 'INVALID_ARGUMENT', /from 1 to 12/],
    [{ settings: { ...endlessGreedy, maxTokens: -1 } }, 'INVALID_ARGUMENT', /max_tokens/],
  ];
  for (const [change, code, message] of refusals) {
    const outcome = engine.submit(request('a', 4, 2, change));
    expect(outcome).toMatchObject({ kind: 'refused', code, message: expect.stringMatching(message) });
  }
  expect(engine.idle).toBe(true);
});

test('settings that contradict each other or the model are named', () => {
  expect(() => engineOverNaiveModel({ kvBlocks: 0 })).toThrow(/kvBlocks/);
  expect(() => engineOverNaiveModel({ maxSequences: 1.5 })).toThrow(/maxSequences/);
  expect(() => engineOverNaiveModel({ maxWaiting: -1 })).toThrow(/maxWaiting/);
  expect(() => engineOverNaiveModel({ maxSequences: 8, stepTokens: 7 })).toThrow(/stepTokens \(7\)/);
  expect(() => engineOverNaiveModel({ vocabularySize: 2 ** 21 + 1 })).toThrow(/vocabulary/);
});
