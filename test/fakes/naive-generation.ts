/**
 * The naive way to generate: one sequence, no cache, no batch, every distribution sorted whole. What the engine does in any
 * batch, chunking and order must come out equal to this.
 */
import type { FinishReason, TokenLogprobs } from '../../workers/engine/output.ts';
import { uniformAt } from '../../workers/engine/philox.ts';
import type { SamplingSettings } from '../../workers/engine/sampling-settings.ts';
import { naiveLogits } from './naive-model.ts';

export interface NaiveRequest {
  readonly prompt: readonly number[];
  readonly choice: number;
  readonly settings: SamplingSettings;
  readonly endTokens: readonly number[];
  readonly vocabularySize: number;
  readonly contextLimit: number;
}

export interface NaiveStream {
  readonly tokens: readonly number[];
  readonly logprobs: readonly TokenLogprobs[];
  readonly finish: FinishReason;
}

export function generateAlone(request: NaiveRequest): NaiveStream {
  const { prompt, settings, endTokens } = request;
  const stops = [...settings.stopTokens, ...(settings.ignoreEos ? [] : endTokens)];
  const tokens: number[] = [];
  const logprobs: TokenLogprobs[] = [];
  for (;;) {
    const logits = naiveLogits([...prompt, ...tokens], request.vocabularySize);
    const token = naiveChoice(logits, prompt, tokens, stops, request.choice, settings);
    tokens.push(token);
    if (settings.logprobs !== undefined) logprobs.push(naiveLogprobs(logits, token, settings.logprobs));
    if (stops.includes(token)) return { tokens, logprobs, finish: 'stop' };
    const isFull = prompt.length + tokens.length >= request.contextLimit;
    if (isFull || tokens.length === settings.maxTokens) return { tokens, logprobs, finish: 'length' };
  }
}

/** Token ids, best first. */
export function ranking(logits: ArrayLike<number>): number[] {
  return Array.from({ length: logits.length }, (_, token) => token).sort((a, b) => logits[b]! - logits[a]! || a - b);
}

export function naiveChoice(
  raw: Float32Array,
  prompt: readonly number[],
  generated: readonly number[],
  stops: readonly number[],
  choice: number,
  settings: SamplingSettings,
): number {
  const logits = raw.slice();
  if (generated.length < settings.minTokens) for (const stop of stops) logits[stop] = -Infinity;
  for (const { token, bias } of settings.logitBias) logits[token]! += bias;
  const counts = new Map(prompt.map((token) => [token, 0]));
  for (const token of generated) counts.set(token, (counts.get(token) ?? 0) + 1);
  for (const [token, count] of counts) {
    const logit = logits[token]!;
    const repeated = logit > 0 ? logit / settings.repetitionPenalty : logit * settings.repetitionPenalty;
    logits[token] = repeated - count * settings.frequencyPenalty - Math.min(1, count) * settings.presencePenalty;
  }
  if (settings.temperature < 1e-5) return ranking(logits)[0]!;
  const { kept, weights } = naiveDistribution(logits, settings);
  const total = kept.reduce((sum, token) => sum + weights[token]!, 0);
  const target = uniformAt(settings.seed, choice, generated.length) * total;
  return kept[lengthOfMass(kept, weights, (mass) => mass > target) - 1]!;
}

/** How many tokens from the front it takes until their weights have a mass that is enough. */
function lengthOfMass(tokens: readonly number[], weights: readonly number[], isEnough: (mass: number) => boolean) {
  let mass = 0;
  for (const [index, token] of tokens.entries()) {
    mass += weights[token]!;
    if (isEnough(mass)) return index + 1;
  }
  return tokens.length;
}

/** Which tokens min_p, top_k and top_p leave, ids rising, and the weight of every token. */
export function naiveDistribution(logits: Float32Array, settings: SamplingSettings) {
  const order = ranking(logits).filter((token) => logits[token]! > -Infinity);
  const top = logits[order[0]!]!;
  const weights = Array.from(logits, (logit) => Math.exp((logit - top) / settings.temperature));
  const likely = order.filter((token) => weights[token]! >= settings.minP);
  const best = settings.topK > 0 ? likely.slice(0, settings.topK) : likely;
  const target = settings.topP * best.reduce((sum, token) => sum + weights[token]!, 0);
  const length = settings.topP === 1 ? best.length : lengthOfMass(best, weights, (mass) => mass >= target);
  const kept = best.slice(0, length).sort((a, b) => a - b);
  return { kept, weights };
}

export function naiveLogprobs(logits: Float32Array, token: number, count: number): TokenLogprobs {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  const logprob = (id: number) => Math.log(Math.exp(logits[id]!) / sum);
  const top = ranking(logits).slice(0, count);
  return { logprob: logprob(token), top: top.map((id) => ({ token: id, logprob: logprob(id) })) };
}
