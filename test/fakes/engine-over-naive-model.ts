/** An engine over the naive model with small, overridable settings, and what most tests of it need. */
import { Engine } from '../../workers/engine/engine.ts';
import type { EngineSettings } from '../../workers/engine/engine-settings.ts';
import type { SequenceOutput } from '../../workers/engine/output.ts';
import type { EngineRequest } from '../../workers/engine/request.ts';
import { neutralSettings, type SamplingSettings } from '../../workers/engine/sampling-settings.ts';
import { NaiveModel, type NaiveModelOptions } from './naive-model.ts';

export const vocabularySize = 40;
export const endToken = 0;

/** The best token every time, end tokens included, so that a stream's length is known beforehand. */
export const endlessGreedy: SamplingSettings = { ...neutralSettings, temperature: 0, ignoreEos: true };

type Options = Partial<EngineSettings> & Partial<NaiveModelOptions>;

export function engineOverNaiveModel(options: Options = {}): { engine: Engine; model: NaiveModel } {
  const settings: EngineSettings = {
    kvBlocks: options.kvBlocks ?? 16,
    maxSequences: options.maxSequences ?? 4,
    stepTokens: options.stepTokens ?? 32,
    maxWaiting: options.maxWaiting ?? 8,
  };
  const model = new NaiveModel({
    vocabularySize,
    contextLength: 128,
    blocks: settings.kvBlocks,
    slots: settings.maxSequences,
    ...options,
    stepTokens: settings.stepTokens,
  });
  return { engine: new Engine({ runner: model, settings, endTokens: [endToken] }), model };
}

/** A greedy request for maxTokens tokens after a prompt of some length. */
export function request(key: string, promptLength: number, maxTokens: number, change: Partial<EngineRequest> = {}) {
  const settings = { ...endlessGreedy, maxTokens };
  const prompt = Int32Array.from(
    { length: promptLength },
    (_, index) => (7 * index + key.charCodeAt(0)) % vocabularySize,
  );
  return { key, prompt, n: 1, emitted: [], settings, ...change } satisfies EngineRequest;
}

/** Steps until idle; everything that came out, in order. */
export function runToEnd(engine: Engine): SequenceOutput[] {
  const outputs: SequenceOutput[] = [];
  while (!engine.idle) outputs.push(...engine.step().entries);
  return outputs;
}

export function tokensOf(outputs: readonly SequenceOutput[], key: string, choice = 0): number[] {
  return outputs.filter((output) => output.key === key && output.choice === choice).flatMap(({ tokens }) => tokens);
}
