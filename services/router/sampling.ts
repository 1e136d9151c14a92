/** Sampling parameters: what a client left out is filled in, and everything is checked before it travels. */
import { TriremeError } from '#platform/errors.ts';
import type { JsonObject } from '#platform/json-object.ts';
import type { SamplingParams } from '#proto/inference.ts';
import { malformed } from '#tokenizer/package-files.ts';

/** What a model's generation_config.json sets. */
export type SamplingDefaults = Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'minP' | 'repetitionPenalty'>;

export const maxStopStrings = 16;
/** Characters of one. */
export const maxStopLength = 1024;
/** Leaves room for the token that ends a turn among the 1024 that an engine takes. */
export const maxStopTokens = 1023;
export const maxLogitBiases = 4096;
export const maxTopLogprobs = 20;

/** As proto/inference.proto gives them. */
const neutral = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  minTokens: 0,
};

const fieldsOfFile = [
  ['temperature', 'temperature'],
  ['topK', 'top_k'],
  ['topP', 'top_p'],
  ['minP', 'min_p'],
  ['repetitionPenalty', 'repetition_penalty'],
] as const;

/** Reads a generation_config.json. With do_sample false the model is greedy, and its filters do not count. Errors: INVALID_CHECKPOINT. */
export function readSamplingDefaults(config: JsonObject, file: string): SamplingDefaults {
  const defaults: { -readonly [Key in keyof SamplingDefaults]: number } = {};
  for (const [field, name] of fieldsOfFile) {
    const value = config[name];
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number') throw malformed(file, `"${name}" must be a number`);
    defaults[field] = value;
  }
  const { repetitionPenalty } = defaults;
  const used: SamplingDefaults =
    config.do_sample === false
      ? { temperature: 0, ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }) }
      : defaults;
  const broken = findBroken(completeSampling(undefined, used, '0'));
  if (broken) throw malformed(file, broken);
  return used;
}

/** Errors: INVALID_ARGUMENT naming the field. The result has every field that has a default; logprobs and max_tokens may stay away. */
export function completeSampling(
  given: SamplingParams | undefined,
  defaults: SamplingDefaults,
  seed: string,
): SamplingParams {
  const own = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => value !== undefined));
  return {
    ...{ logitBias: [], stop: [], stopTokenIds: [], ignoreEos: false },
    ...neutral,
    ...defaults,
    seed,
    ...own,
  };
}

/** Errors: INVALID_ARGUMENT naming the first field that is out of its range. */
export function checkSampling(params: SamplingParams): void {
  const broken = findBroken(params);
  if (broken) throw new TriremeError('INVALID_ARGUMENT', broken);
}

interface Rule {
  readonly name: string;
  readonly range: string;
  /** What is out of range; undefined: nothing is. */
  readonly broken: (params: SamplingParams) => unknown;
}

function numberRule(field: keyof SamplingParams, name: string, range: string, holds: (value: number) => boolean): Rule {
  return {
    name,
    range,
    broken: (params) => {
      const value = params[field];
      return value === undefined || (typeof value === 'number' && holds(value)) ? undefined : value;
    },
  };
}

function countRule(field: 'logitBias' | 'stop' | 'stopTokenIds', name: string, most: number): Rule {
  const range = `at most ${most} entries`;
  return { name, range, broken: ({ [field]: list }) => (list.length > most ? `${list.length} entries` : undefined) };
}

const isPenalty = (value: number): boolean => value >= -2 && value <= 2;

const rules: readonly Rule[] = [
  numberRule('temperature', 'temperature', 'a number >= 0', (value) => Number.isFinite(value) && value >= 0),
  numberRule('topK', 'top_k', 'a whole number >= 0', (value) => Number.isSafeInteger(value) && value >= 0),
  numberRule('topP', 'top_p', 'above 0 and at most 1', (value) => value > 0 && value <= 1),
  numberRule('minP', 'min_p', 'at least 0 and below 1', (value) => value >= 0 && value < 1),
  numberRule('presencePenalty', 'presence_penalty', 'from -2 to 2', isPenalty),
  numberRule('frequencyPenalty', 'frequency_penalty', 'from -2 to 2', isPenalty),
  numberRule(
    'repetitionPenalty',
    'repetition_penalty',
    'a number above 0',
    (value) => Number.isFinite(value) && value > 0,
  ),
  numberRule('minTokens', 'min_tokens', 'a whole number >= 0', (value) => Number.isSafeInteger(value) && value >= 0),
  numberRule('maxTokens', 'max_tokens', 'a whole number >= 1', (value) => Number.isSafeInteger(value) && value >= 1),
  {
    name: 'min_tokens',
    range: 'at most max_tokens',
    broken: ({ minTokens = 0, maxTokens }) =>
      maxTokens !== undefined && minTokens > maxTokens ? minTokens : undefined,
  },
  numberRule('logprobs', 'logprobs', `from 0 to ${maxTopLogprobs}`, (value) => value >= 0 && value <= maxTopLogprobs),
  { name: 'seed', range: 'a whole number from 0 to 2^64 - 1', broken: ({ seed }) => (isSeed(seed) ? undefined : seed) },
  countRule('logitBias', 'logit_bias', maxLogitBiases),
  {
    name: 'logit_bias',
    range: 'finite numbers',
    broken: ({ logitBias }) => logitBias.find(({ bias }) => !Number.isFinite(bias))?.bias,
  },
  countRule('stop', 'stop', maxStopStrings),
  {
    name: 'stop',
    range: `texts of 1 to ${maxStopLength} characters`,
    broken: ({ stop }) => {
      const found = stop.find((text) => text === '' || text.length > maxStopLength);
      return found === undefined ? undefined : `one of ${found.length}`;
    },
  },
  countRule('stopTokenIds', 'stop_token_ids', maxStopTokens),
];

function findBroken(params: SamplingParams): string | undefined {
  for (const { name, range, broken } of rules) {
    const value = broken(params);
    if (value !== undefined) return `${name} must be ${range}, not ${String(value)}`;
  }
  return undefined;
}

function isSeed(seed: string | undefined): boolean {
  return seed === undefined || (/^\d{1,20}$/.test(seed) && BigInt(seed) < 1n << 64n);
}
