/**
 * How the tokens of a request are chosen. Complete: whoever submits has applied every default and drawn the seed, so that
 * the same settings give the same tokens anywhere. Stop strings are no affair of the engine, which never sees text.
 */
import { type Refusal, refuse } from './refusal.ts';

export interface SamplingSettings {
  /** >= 0. Below greedyBelow the best token is taken. */
  readonly temperature: number;
  /** Keep the k best tokens; 0 is off. */
  readonly topK: number;
  /** Keep the fewest best tokens whose probabilities sum to at least this; (0, 1], 1 is off. */
  readonly topP: number;
  /** Drop tokens whose probability is below this share of the best one's; [0, 1), 0 is off. */
  readonly minP: number;
  /** Unsigned, 64 bits. */
  readonly seed: bigint;
  /** [-2, 2]; subtracted once from the logit of a token that was generated before. */
  readonly presencePenalty: number;
  /** [-2, 2]; subtracted once per earlier generation. */
  readonly frequencyPenalty: number;
  /** > 0; divides positive and multiplies negative logits of tokens in the prompt or generated before. 1 is off. */
  readonly repetitionPenalty: number;
  /** Added to logits; finite. */
  readonly logitBias: readonly LogitBias[];
  /** End a sequence, beside the model's end tokens. */
  readonly stopTokens: readonly number[];
  /** Neither stop nor end tokens are generated before this many tokens; >= 0. */
  readonly minTokens: number;
  /** Generated tokens, those emitted by earlier attempts included; >= 1. Undefined: as many as the context holds. */
  readonly maxTokens: number | undefined;
  /** The model's end tokens are tokens like any other. */
  readonly ignoreEos: boolean;
  /** Undefined: none. k: log-probabilities of the chosen token and of the k best; 0 .. maxLogprobs. */
  readonly logprobs: number | undefined;
}

export interface LogitBias {
  readonly token: number;
  readonly bias: number;
}

/** Settings that leave the model's distribution as it is. */
export const neutralSettings: SamplingSettings = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  seed: 0n,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: [],
  stopTokens: [],
  minTokens: 0,
  maxTokens: undefined,
  ignoreEos: false,
  logprobs: undefined,
};

/** A temperature below this is greedy: dividing logits by it would leave one token anyway. */
export const greedyBelow = 1e-5;

export const maxLogprobs = 20;
export const maxLogitBiases = 4096;
export const maxStopTokens = 1024;

interface Rule {
  readonly field: keyof SamplingSettings;
  readonly range: string;
  readonly holds: (settings: SamplingSettings) => boolean;
}

const isCount = (value: number) => Number.isSafeInteger(value) && value >= 0;
const isWithin = (value: number, low: number, high: number) => value >= low && value <= high;

const rules: readonly Rule[] = [
  { field: 'temperature', range: 'a number >= 0', holds: (s) => isWithin(s.temperature, 0, Number.MAX_VALUE) },
  { field: 'topK', range: 'a whole number >= 0', holds: (s) => isCount(s.topK) },
  { field: 'topP', range: 'above 0 and at most 1', holds: (s) => s.topP > 0 && s.topP <= 1 },
  { field: 'minP', range: 'at least 0 and below 1', holds: (s) => s.minP >= 0 && s.minP < 1 },
  { field: 'seed', range: 'an unsigned 64-bit number', holds: (s) => BigInt.asUintN(64, s.seed) === s.seed },
  { field: 'presencePenalty', range: 'from -2 to 2', holds: (s) => isWithin(s.presencePenalty, -2, 2) },
  { field: 'frequencyPenalty', range: 'from -2 to 2', holds: (s) => isWithin(s.frequencyPenalty, -2, 2) },
  {
    field: 'repetitionPenalty',
    range: 'a number above 0',
    holds: (s) => s.repetitionPenalty > 0 && s.repetitionPenalty <= Number.MAX_VALUE,
  },
  { field: 'minTokens', range: 'a whole number >= 0', holds: (s) => isCount(s.minTokens) },
  {
    field: 'maxTokens',
    range: 'a whole number >= 1',
    holds: (s) => s.maxTokens === undefined || (isCount(s.maxTokens) && s.maxTokens >= 1),
  },
  {
    field: 'minTokens',
    range: 'at most max_tokens',
    holds: (s) => s.maxTokens === undefined || s.minTokens <= s.maxTokens,
  },
  {
    field: 'logprobs',
    range: `a whole number from 0 to ${maxLogprobs}`,
    holds: (s) => s.logprobs === undefined || (isCount(s.logprobs) && s.logprobs <= maxLogprobs),
  },
  {
    field: 'logitBias',
    range: `at most ${maxLogitBiases} entries`,
    holds: (s) => s.logitBias.length <= maxLogitBiases,
  },
  { field: 'logitBias', range: 'finite numbers', holds: (s) => s.logitBias.every(({ bias }) => Number.isFinite(bias)) },
  { field: 'stopTokens', range: `at most ${maxStopTokens} ids`, holds: (s) => s.stopTokens.length <= maxStopTokens },
];

/** Names as clients know them (proto/inference.proto). */
const clientNames = {
  temperature: 'temperature',
  topK: 'top_k',
  topP: 'top_p',
  minP: 'min_p',
  seed: 'seed',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  repetitionPenalty: 'repetition_penalty',
  logitBias: 'logit_bias',
  stopTokens: 'stop_token_ids',
  minTokens: 'min_tokens',
  maxTokens: 'max_tokens',
  ignoreEos: 'ignore_eos',
  logprobs: 'logprobs',
} as const satisfies Record<keyof SamplingSettings, string>;

/** The first rule that the settings break, as an INVALID_ARGUMENT that names the field; undefined when they are sound. */
export function validateSettings(settings: SamplingSettings, vocabularySize: number): Refusal | undefined {
  for (const { field, range, holds } of rules) {
    if (!holds(settings)) return invalid(field, range, settings[field]);
  }
  const isToken = (token: number) => isCount(token) && token < vocabularySize;
  const range = `token ids below ${vocabularySize}`;
  const bias = settings.logitBias.find(({ token }) => !isToken(token));
  if (bias) return invalid('logitBias', range, bias.token);
  const stop = settings.stopTokens.find((token) => !isToken(token));
  if (stop !== undefined) return invalid('stopTokens', range, stop);
  return undefined;
}

function invalid(field: keyof SamplingSettings, range: string, value: unknown): Refusal {
  const given = Array.isArray(value) ? `${value.length} entries` : String(value);
  return refuse('INVALID_ARGUMENT', `${clientNames[field]} must be ${range}, not ${given}`);
}
