import { expect, test } from 'vitest';
import { neutralSettings, type SamplingSettings, validateSettings } from './sampling-settings.ts';

const vocabularySize = 100;

test('neutral settings and the ends of every range are sound', () => {
  const sound: Partial<SamplingSettings>[] = [
    {},
    { temperature: 0 },
    { temperature: 1e30 },
    { topK: 1e6 },
    { topP: 1e-9 },
    { minP: 0.999 },
    { seed: 2n ** 64n - 1n },
    { presencePenalty: -2, frequencyPenalty: 2 },
    { repetitionPenalty: 0.01 },
    { logitBias: [{ token: 99, bias: -100 }] },
    { stopTokens: [0, 99] },
    { minTokens: 5, maxTokens: 5 },
    { maxTokens: 1 },
    { logprobs: 0 },
    { logprobs: 20 },
  ];
  for (const change of sound)
    expect(validateSettings({ ...neutralSettings, ...change }, vocabularySize)).toBeUndefined();
});

test('what is outside its range is refused by the name that clients know', () => {
  const unsound: [string, Partial<SamplingSettings>][] = [
    ['temperature', { temperature: -0.1 }],
    ['temperature', { temperature: Number.NaN }],
    ['temperature', { temperature: Number.POSITIVE_INFINITY }],
    ['top_k', { topK: -1 }],
    ['top_k', { topK: 1.5 }],
    ['top_p', { topP: 0 }],
    ['top_p', { topP: 1.01 }],
    ['top_p', { topP: Number.NaN }],
    ['min_p', { minP: 1 }],
    ['min_p', { minP: -0.1 }],
    ['seed', { seed: -1n }],
    ['seed', { seed: 2n ** 64n }],
    ['presence_penalty', { presencePenalty: 2.1 }],
    ['presence_penalty', { presencePenalty: Number.NaN }],
    ['frequency_penalty', { frequencyPenalty: -2.1 }],
    ['repetition_penalty', { repetitionPenalty: 0 }],
    ['repetition_penalty', { repetitionPenalty: Number.POSITIVE_INFINITY }],
    ['logit_bias', { logitBias: [{ token: 100, bias: 1 }] }],
    ['logit_bias', { logitBias: [{ token: 1, bias: Number.NaN }] }],
    ['logit_bias', { logitBias: Array.from({ length: 4097 }, () => ({ token: 1, bias: 1 })) }],
    ['stop_token_ids', { stopTokens: [100] }],
    ['stop_token_ids', { stopTokens: [-1] }],
    ['stop_token_ids', { stopTokens: new Array<number>(1025).fill(1) }],
    ['min_tokens', { minTokens: -1 }],
    ['min_tokens', { minTokens: 6, maxTokens: 5 }],
    ['max_tokens', { maxTokens: 0 }],
    ['max_tokens', { maxTokens: -7 }],
    ['logprobs', { logprobs: 21 }],
    ['logprobs', { logprobs: -1 }],
  ];
  for (const [name, change] of unsound) {
    const refusal = validateSettings({ ...neutralSettings, ...change }, vocabularySize);
    expect(refusal?.code, name).toBe('INVALID_ARGUMENT');
    expect(refusal?.message).toMatch(new RegExp(`^${name} must be `));
  }
});
