/** What rows of logits say of the next token, as one figure for many rows. Rows lie one behind the other: [rows, vocabulary]. */
import { assert } from '#platform/assert.ts';

/** Natural logarithms of a row's probabilities. */
function logProbabilities(row: Float32Array): Float64Array {
  const largest = row.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
  const sum = row.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  return Float64Array.from(row, (logit) => logit - largest - Math.log(sum));
}

function rowOf(logits: Float32Array, row: number, vocabulary: number): Float32Array {
  return logits.subarray(row * vocabulary, (row + 1) * vocabulary);
}

/** Of every token of every window but the first: exp of the mean of -ln p. */
export function perplexity(logits: readonly Float32Array[], windows: readonly Int32Array[]): number {
  let surprise = 0;
  let predicted = 0;
  for (const [i, tokens] of windows.entries()) {
    const vocabulary = logits[i]!.length / tokens.length;
    for (let at = 0; at + 1 < tokens.length; at++) {
      surprise -= logProbabilities(rowOf(logits[i]!, at, vocabulary))[tokens[at + 1]!]!;
      predicted++;
    }
  }
  return Math.exp(surprise / predicted);
}

/**
 * Kullback-Leibler divergence of two rows' distributions, in nats: what is lost when `other` is taken for `reference`. The sum of
 * p (q/p - 1 - ln(q/p)) is that of p ln(p/q), as both distributions add up to 1, but no term is negative, so that the small ones of
 * almost equal rows do not drown in rounding.
 */
export function divergence(reference: Float32Array, other: Float32Array): number {
  assert(reference.length === other.length, 'both rows are over the same vocabulary');
  const [p, q] = [logProbabilities(reference), logProbabilities(other)];
  return p.reduce((sum, logP, i) => {
    const difference = q[i]! - logP;
    return sum + Math.exp(logP) * (Math.expm1(difference) - difference);
  }, 0);
}

/** Mean over all rows of all windows. */
export function meanDivergence(
  reference: readonly Float32Array[],
  other: readonly Float32Array[],
  vocabulary: number,
): number {
  let sum = 0;
  let rows = 0;
  for (const [i, window] of reference.entries()) {
    for (let row = 0; row < window.length / vocabulary; row++) {
      sum += divergence(rowOf(window, row, vocabulary), rowOf(other[i]!, row, vocabulary));
      rows++;
    }
  }
  return sum / rows;
}
