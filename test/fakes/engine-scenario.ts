/**
 * Random days in the life of an engine over the naive model: requests of all kinds arrive, are refused, cancelled, preempted
 * and resumed from what was emitted before. runScenario throws at the first difference from lone generation and at the
 * first thing that is not given back.
 */
import fc from 'fast-check';
import { expect } from 'vitest';
import { Engine } from '../../workers/engine/engine.ts';
import type { EngineSettings } from '../../workers/engine/engine-settings.ts';
import type { SequenceOutput, TokenLogprobs } from '../../workers/engine/output.ts';
import { neutralSettings, type SamplingSettings } from '../../workers/engine/sampling-settings.ts';
import { generateAlone, type NaiveStream } from './naive-generation.ts';
import { NaiveModel } from './naive-model.ts';

export const vocabularySize = 40;
export const endTokens = [0, 7];

export interface ScenarioRequest {
  readonly prompt: readonly number[];
  readonly n: number;
  readonly settings: SamplingSettings;
  /** Per mille of each choice's tokens that the client has already. */
  readonly emitted: readonly number[];
  readonly arrival: number;
  /** Steps after its arrival at which these choices (empty: all) are cancelled. */
  readonly cancel: { readonly after: number; readonly choices: readonly number[] } | undefined;
}

export interface Scenario {
  readonly settings: EngineSettings;
  readonly contextLength: number;
  readonly requests: readonly ScenarioRequest[];
}

const tokenId = fc.nat(vocabularySize - 1);
const sometimes = <T>(neutral: T, other: fc.Arbitrary<T>) => fc.oneof(fc.constant(neutral), other);

const samplingSettings: fc.Arbitrary<SamplingSettings> = fc.record({
  temperature: fc.oneof(fc.constant(0), fc.double({ min: 0.11, max: 2.9, noNaN: true })),
  topK: sometimes(0, fc.integer({ min: 1, max: vocabularySize + 3 })),
  topP: sometimes(1, fc.double({ min: 0.0101, max: 0.9999, noNaN: true })),
  minP: sometimes(0, fc.double({ min: 0.0011, max: 0.7, noNaN: true })),
  seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  presencePenalty: sometimes(0, fc.double({ min: -2, max: 2, noNaN: true })),
  frequencyPenalty: sometimes(0, fc.double({ min: -2, max: 2, noNaN: true })),
  repetitionPenalty: sometimes(1, fc.double({ min: 0.6, max: 2.3, noNaN: true })),
  logitBias: sometimes<SamplingSettings['logitBias']>(
    [],
    fc.array(fc.record({ token: tokenId, bias: fc.double({ min: -9, max: 9, noNaN: true }) }), { maxLength: 4 }),
  ),
  stopTokens: sometimes<readonly number[]>([], fc.array(tokenId, { maxLength: 3 })),
  minTokens: sometimes(0, fc.nat(30)),
  maxTokens: sometimes<number | undefined>(undefined, fc.integer({ min: 30, max: 90 })),
  ignoreEos: fc.boolean(),
  logprobs: sometimes<number | undefined>(undefined, fc.nat(5)),
});

/** Plain greedy is the common case and has its own path to the runner. */
const anySettings = fc.oneof(
  fc.constant({ ...neutralSettings, temperature: 0, ignoreEos: true }),
  fc.constant({ ...neutralSettings, temperature: 0 }),
  samplingSettings,
);

const scenarioRequest: fc.Arbitrary<ScenarioRequest> = fc.record({
  prompt: fc.array(tokenId, { minLength: 1, maxLength: 60 }),
  n: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 4 })),
  settings: anySettings,
  emitted: sometimes<readonly number[]>([], fc.array(fc.nat(1000), { maxLength: 4 })),
  arrival: fc.nat(40),
  cancel: fc.option(fc.record({ after: fc.nat(60), choices: fc.array(fc.nat(3), { maxLength: 2 }) }), {
    nil: undefined,
    freq: 4,
  }),
});

export const engineSettings: fc.Arbitrary<EngineSettings> = fc
  .record({
    kvBlocks: fc.integer({ min: 1, max: 16 }),
    maxSequences: fc.integer({ min: 1, max: 6 }),
    spareTokens: fc.oneof(fc.constant(0), fc.nat(50)),
    maxWaiting: fc.integer({ min: 4, max: 20 }),
  })
  .map(({ spareTokens, ...settings }) => ({ ...settings, stepTokens: settings.maxSequences + spareTokens }));

export const scenarios: fc.Arbitrary<Scenario> = fc.record({
  settings: engineSettings,
  contextLength: fc.integer({ min: 2, max: 160 }),
  requests: fc.array(scenarioRequest, { minLength: 1, maxLength: 10 }),
});

/** More steps than any scenario needs: each request has at most four choices of 160 tokens. */
const maxSteps = 20_000;

export interface ScenarioReport {
  readonly preemptions: number;
  readonly refusals: number;
  readonly streams: ReadonlyMap<string, readonly number[]>;
}

export function runScenario(scenario: Scenario): ScenarioReport {
  const run = new ScenarioRun(scenario);
  for (let step = 0; run.isBusy; step++) {
    if (step > maxSteps) throw new Error('the engine never becomes idle');
    run.step(step);
  }
  return run.finish();
}

/** The runner throws at a step: nothing of that step may be seen, and nothing may stay behind. */
export function runFailingScenario(scenario: Scenario, failAtStep: number): void {
  const run = new ScenarioRun(scenario, failAtStep);
  for (let step = 0; run.isBusy && step <= maxSteps; step++) {
    if (run.fails(step)) return;
  }
}

interface Stream {
  readonly expected: NaiveStream;
  readonly emitted: number;
  readonly tokens: number[];
  ended: boolean;
}

class ScenarioRun {
  readonly #scenario: Scenario;
  readonly #model: NaiveModel;
  readonly #engine: Engine;
  readonly #toSubmit: Set<ScenarioRequest>;
  readonly #toCancel: { readonly at: number; readonly key: number; readonly choices: readonly number[] }[] = [];
  readonly #streams = new Map<string, Stream>();
  readonly #lone = new Map<ScenarioRequest, readonly NaiveStream[]>();
  #refusals = 0;

  constructor(scenario: Scenario, failAtStep?: number) {
    this.#scenario = scenario;
    const { settings, contextLength } = scenario;
    this.#model = new NaiveModel({
      vocabularySize,
      contextLength,
      blocks: settings.kvBlocks,
      slots: settings.maxSequences,
      stepTokens: settings.stepTokens,
      ...(failAtStep === undefined ? {} : { failAtStep }),
    });
    this.#engine = new Engine({ runner: this.#model, settings, endTokens });
    this.#toSubmit = new Set(scenario.requests);
  }

  get isBusy(): boolean {
    return this.#toSubmit.size > 0 || !this.#engine.idle;
  }

  step(step: number): void {
    this.#prepare(step);
    for (const output of this.#engine.step().entries) this.#receive(output);
  }

  /** Whether the runner failed in this step; everything is checked and aborted then. */
  fails(step: number): boolean {
    this.#prepare(step);
    const before = this.#engine.status();
    try {
      for (const output of this.#engine.step().entries) this.#receive(output);
      return false;
    } catch (error) {
      if (!String(error).includes('fails as told')) throw error;
    }
    expect(this.#engine.status()).toEqual(before);
    const names = this.#engine.abortAll().map(({ key, choice }) => `${key}/${choice}`);
    expect(names).toEqual([...this.#streams.keys()].filter((name) => !this.#streams.get(name)!.ended));
    const { kvBlocks, maxSequences } = this.#scenario.settings;
    const free = { running: 0, waiting: 0, freeBlocks: kvBlocks, freeSequences: maxSequences };
    expect(this.#engine.status()).toEqual({ ...before, ...free });
    expect(this.#engine.idle).toBe(true);
    return true;
  }

  finish(): ScenarioReport {
    const load = this.#engine.status();
    const { kvBlocks, maxSequences } = this.#scenario.settings;
    expect(load).toMatchObject({ running: 0, waiting: 0, freeBlocks: kvBlocks, freeSequences: maxSequences });
    for (const { expected, emitted, tokens, ended } of this.#streams.values()) {
      if (!ended) throw new Error('a stream has no end');
      expect(emitted + tokens.length).toBeLessThanOrEqual(expected.tokens.length);
    }
    this.#checkReleases();
    const streams = new Map([...this.#streams].map(([name, { tokens }]) => [name, tokens]));
    return { preemptions: load.preemptions, refusals: this.#refusals, streams };
  }

  #prepare(step: number): void {
    for (const request of this.#toSubmit) if (request.arrival <= step) this.#submit(request, step);
    for (const { at, key, choices } of this.#toCancel) if (at === step) this.#cancel(key, choices);
  }

  #submit(request: ScenarioRequest, step: number): void {
    const { prompt, n, settings, cancel } = request;
    const key = this.#scenario.requests.indexOf(request);
    const contextLimit = this.#engine.contextLimit;
    const isTooLong = prompt.length >= contextLimit;
    const expected = isTooLong ? [] : this.#alone(request);
    const emitted = expected.map(({ tokens }, choice) => {
      return Math.floor((tokens.length * (request.emitted[choice] ?? 0)) / 1000);
    });
    const outcome = this.#engine.submit({
      key,
      prompt: Int32Array.from(prompt),
      n,
      emitted: expected.map(({ tokens }, choice) => Int32Array.from(tokens.slice(0, emitted[choice]))),
      settings,
    });
    if (outcome.kind === 'refused') {
      this.#refusals++;
      expectSame(`submit ${key}`, outcome.code, isTooLong ? 'PROMPT_TOO_LONG' : 'NO_ROOM');
      if (isTooLong) this.#toSubmit.delete(request);
      return;
    }
    expectSame(`submit ${key}`, isTooLong, false);
    this.#toSubmit.delete(request);
    expected.forEach((stream, choice) => {
      this.#streams.set(`${key}/${choice}`, { expected: stream, emitted: emitted[choice]!, tokens: [], ended: false });
    });
    if (cancel) this.#toCancel.push({ at: step + cancel.after, key, choices: cancel.choices });
  }

  /** Every choice by itself. */
  #alone(request: ScenarioRequest): readonly NaiveStream[] {
    const known = this.#lone.get(request);
    if (known) return known;
    const { prompt, settings, n } = request;
    const contextLimit = this.#engine.contextLimit;
    const streams = Array.from({ length: n }, (_, choice) =>
      generateAlone({ prompt, choice, settings, endTokens, vocabularySize, contextLimit }),
    );
    this.#lone.set(request, streams);
    return streams;
  }

  #cancel(key: number, choices: readonly number[]): void {
    if (choices.length === 0) this.#engine.cancel(key);
    else this.#engine.cancel(key, choices);
    for (const [name, stream] of this.#streams) {
      const [request, choice] = name.split('/').map(Number);
      if (request === key && (choices.length === 0 || choices.includes(choice!))) stream.ended = true;
    }
  }

  #receive(output: SequenceOutput): void {
    const stream = this.#streams.get(`${output.key}/${output.choice}`)!;
    const { expected, emitted, tokens } = stream;
    if (stream.ended) throw new Error(`an output after the end of ${output.key}/${output.choice}`);
    const at = `${output.key}/${output.choice} at ${emitted + tokens.length}`;
    expectSame(at, output.error, undefined);
    expectSame(at, output.firstPosition, emitted + tokens.length);
    tokens.push(...output.tokens);
    const end = emitted + tokens.length;
    expectSame(at, output.tokens, expected.tokens.slice(output.firstPosition, end));
    compareLogprobs(at, output.logprobs, expected.logprobs.slice(output.firstPosition, end));
    const isLast = end === expected.tokens.length;
    expectSame(at, output.finish, isLast ? expected.finish : undefined);
    stream.ended = isLast;
  }

  /** After one more request nothing but that request is left in the model's slots. */
  #checkReleases(): void {
    if (this.#engine.contextLimit < 2) return;
    const settings = { ...neutralSettings, temperature: 0, maxTokens: 1 };
    this.#engine.submit({ key: 'last', prompt: Int32Array.of(1), n: 1, emitted: [], settings });
    while (!this.#engine.idle) this.#engine.step();
    expect(this.#model.usedSlots).toEqual([0]);
  }
}

/** Called for every token: an assertion library would take most of the run. */
function expectSame(at: string, actual: unknown, expected: unknown): void {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) throw new Error(`${at}: ${is} instead of ${should}`);
}

function compareLogprobs(at: string, actual: readonly TokenLogprobs[], expected: readonly TokenLogprobs[]): void {
  const tokens = ({ top }: TokenLogprobs) => top.map(({ token }) => token);
  const numbers = ({ logprob, top }: TokenLogprobs) => [logprob, ...top.map((one) => one.logprob)];
  expectSame(at, actual.map(tokens), expected.map(tokens));
  const should = expected.flatMap(numbers);
  for (const [index, is] of actual.flatMap(numbers).entries()) {
    if (!(Math.abs(is - should[index]!) < 1e-9)) throw new Error(`${at}: log-probability ${is}, not ${should[index]}`);
  }
}
