/**
 * Turns a row of logits into a token: a function of (logits, settings, choice, position, tokens so far), never of the batch.
 *
 * Order, as in vLLM's V1 sampler: log-probabilities are taken from the raw logits; then stop tokens are barred while
 * min_tokens asks for it, logit_bias is added, the repetition, frequency and presence penalties apply; a temperature below
 * greedyBelow takes the best token; else temperature, min_p, top_k, top_p, and one draw.
 */
import { assert } from '#platform/assert.ts';
import { BestTokens } from './best-tokens.ts';
import { logprobsOf } from './logprobs.ts';
import type { TokenLogprobs } from './output.ts';
import { hasPenalties, type Penalties } from './penalties.ts';
import { uniformAt } from './philox.ts';
import { greedyBelow, type SamplingSettings } from './sampling-settings.ts';
import { TopFilter } from './top-filter.ts';

/** What a sequence brings to the choice of its next token. */
export interface SamplingContext {
  readonly settings: SamplingSettings;
  readonly choice: number;
  /** Tokens generated so far, those of earlier attempts included; the next token's position. */
  readonly generatedCount: number;
  /** Tokens that end the sequence. */
  readonly stopTokens: ReadonlySet<number>;
  /** Present when hasPenalties(settings). */
  readonly penalties: Penalties | undefined;
}

export type Sampled =
  | { readonly kind: 'token'; readonly token: number; readonly logprobs: TokenLogprobs | undefined }
  /** NaN or an infinity among the logits, or no token left to choose: the sequence cannot go on. */
  | { readonly kind: 'failed'; readonly message: string };

/** The best token of the raw logits is all that the choice needs. */
export function bestTokenSuffices(context: SamplingContext): boolean {
  const { settings } = context;
  return (
    settings.temperature < greedyBelow &&
    settings.logprobs === undefined &&
    settings.logitBias.length === 0 &&
    !hasPenalties(settings) &&
    !barsStopTokens(context)
  );
}

function barsStopTokens({ settings, generatedCount, stopTokens }: SamplingContext): boolean {
  return generatedCount < settings.minTokens && stopTokens.size > 0;
}

export class Sampler {
  readonly #best: BestTokens;
  readonly #filter: TopFilter;
  readonly #adjusted: Float32Array;

  constructor(vocabularySize: number) {
    this.#best = new BestTokens(vocabularySize);
    this.#filter = new TopFilter(vocabularySize, this.#best);
    this.#adjusted = new Float32Array(vocabularySize);
  }

  /** Checks a token that the runner chose. */
  accept(token: number, logit: number): Sampled {
    if (!Number.isFinite(logit)) return nonFinite;
    return { kind: 'token', token, logprobs: undefined };
  }

  /** Chooses from logits [vocabulary], which stay as they are. */
  sample(logits: Float32Array, context: SamplingContext): Sampled {
    assert(logits.length === this.#adjusted.length, `a row of ${logits.length} logits`);
    if (!areFinite(logits)) return nonFinite;
    const { settings } = context;
    const adjusted = this.#adjust(logits, context);
    const bestToken = indexOfLargest(adjusted);
    const top = adjusted[bestToken]!;
    if (top === -Infinity) return nothingLeft;
    const token = settings.temperature < greedyBelow ? bestToken : this.#draw(adjusted, top, context);
    return { kind: 'token', token, logprobs: this.#logprobs(logits, token, settings.logprobs) };
  }

  #draw(logits: Float32Array, top: number, { settings, choice, generatedCount }: SamplingContext): number {
    this.#filter.apply(logits, top, settings);
    return this.#filter.draw(uniformAt(settings.seed, choice, generatedCount));
  }

  #logprobs(logits: Float32Array, token: number, count: number | undefined): TokenLogprobs | undefined {
    if (count === undefined) return undefined;
    return logprobsOf(logits, logits[indexOfLargest(logits)]!, token, count, this.#best);
  }

  /** The row itself when nothing changes it, else a copy that lasts until the next call. */
  #adjust(logits: Float32Array, context: SamplingContext): Float32Array {
    const { settings, penalties, stopTokens } = context;
    const bars = barsStopTokens(context);
    if (!bars && !penalties && settings.logitBias.length === 0) return logits;
    const adjusted = this.#adjusted;
    adjusted.set(logits);
    if (bars) for (const token of stopTokens) adjusted[token] = -Infinity;
    for (const { token, bias } of settings.logitBias) adjusted[token]! += bias;
    penalties?.apply(adjusted);
    return adjusted;
  }
}

const nonFinite: Sampled = { kind: 'failed', message: 'the model returned a logit that is not a finite number' };
const nothingLeft: Sampled = { kind: 'failed', message: 'min_tokens bars every token of the vocabulary' };

/** The lowest id on a tie. */
function indexOfLargest(values: Float32Array): number {
  const { length } = values;
  let index = 0;
  let largest = values[0]!;
  for (let i = 1; i < length; i++) {
    const value = values[i]!;
    if (value > largest) {
      largest = value;
      index = i;
    }
  }
  return index;
}

/** A finite number minus itself is 0, anything else is NaN. */
function areFinite(values: Float32Array): boolean {
  const { length } = values;
  for (let i = 0; i < length; i++) {
    const value = values[i]!;
    if (value - value !== 0) return false;
  }
  return true;
}
