import { expect, test } from 'vitest';
import { Penalties } from './penalties.ts';
import { neutralSettings, type SamplingSettings } from './sampling-settings.ts';

function penalised(
  change: Partial<SamplingSettings>,
  prompt: number[],
  generated: number[],
  logits: number[],
): number[] {
  const penalties = new Penalties({ ...neutralSettings, ...change });
  penalties.notePrompt(Int32Array.from(prompt));
  for (const token of generated) penalties.noteGenerated(token);
  const row = Float32Array.from(logits);
  penalties.apply(row);
  return [...row];
}

test('presence counts once, for generated tokens only', () => {
  expect(penalised({ presencePenalty: 0.5 }, [0, 1], [1, 2, 2], [4, 4, 4, 4])).toEqual([4, 3.5, 3.5, 4]);
});

test('frequency counts every generation, for generated tokens only', () => {
  expect(penalised({ frequencyPenalty: 0.5 }, [0, 1, 1], [1, 2, 2], [4, 4, 4, 4])).toEqual([4, 3.5, 3, 4]);
});

test('repetition divides positive and multiplies negative logits of prompt and generated tokens, once each', () => {
  expect(penalised({ repetitionPenalty: 2 }, [0, 1, 0], [1, 2], [4, -4, 0, 4])).toEqual([2, -8, 0, 4]);
});

test('the repetition penalty comes before the others', () => {
  const all = { repetitionPenalty: 2, frequencyPenalty: 0.25, presencePenalty: 1 };
  expect(penalised(all, [], [0, 0], [4, 4])).toEqual([4 / 2 - 0.5 - 1, 4]);
});
