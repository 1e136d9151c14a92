/**
 * Presence, frequency and repetition penalties of one sequence: a function of its tokens so far, rebuilt by noting them
 * again. Only tokens that occurred are touched, so the cost does not grow with the vocabulary.
 *
 * As in vLLM: the repetition penalty (Keskar et al., "CTRL", https://arxiv.org/abs/1909.05858) looks at prompt and
 * generated tokens, divides positive logits and multiplies negative ones; the other two look at generated tokens only and
 * subtract, as the OpenAI API defines them.
 */
import type { SamplingSettings } from './sampling-settings.ts';

export function hasPenalties(settings: SamplingSettings): boolean {
  return settings.repetitionPenalty !== 1 || settings.presencePenalty !== 0 || settings.frequencyPenalty !== 0;
}

export class Penalties {
  readonly #repetition: number;
  readonly #presence: number;
  readonly #frequency: number;
  /** Distinct tokens in order of first occurrence, and how often each was generated (0: it is in the prompt only). */
  readonly #tokens: number[] = [];
  readonly #generated: number[] = [];
  readonly #indexOf = new Map<number, number>();

  constructor(settings: SamplingSettings) {
    this.#repetition = settings.repetitionPenalty;
    this.#presence = settings.presencePenalty;
    this.#frequency = settings.frequencyPenalty;
  }

  notePrompt(tokens: Int32Array): void {
    if (this.#repetition === 1) return;
    for (const token of tokens) this.#entry(token);
  }

  noteGenerated(token: number): void {
    this.#generated[this.#entry(token)]!++;
  }

  /** Changes logits [vocabulary] in place. */
  apply(logits: Float32Array): void {
    for (let i = 0; i < this.#tokens.length; i++) {
      const token = this.#tokens[i]!;
      const count = this.#generated[i]!;
      const logit = logits[token]!;
      const repeated = logit > 0 ? logit / this.#repetition : logit * this.#repetition;
      logits[token] = repeated - this.#frequency * count - (count > 0 ? this.#presence : 0);
    }
  }

  #entry(token: number): number {
    const known = this.#indexOf.get(token);
    if (known !== undefined) return known;
    const index = this.#tokens.length;
    this.#tokens.push(token);
    this.#generated.push(0);
    this.#indexOf.set(token, index);
    return index;
  }
}
