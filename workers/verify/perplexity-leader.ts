/** What rank 0 does for a perplexity: runs window after window and adds up how surprising each next token was. */
import { assert } from '#platform/assert.ts';
import type { RankContext } from '../rank/rank-context.ts';
import type { RunLeader } from '../rank/rank-messages.ts';

export interface PerplexityJob {
  readonly tokens: Int32Array;
  readonly windowTokens: number;
}

export interface Perplexity {
  readonly perplexity: number;
  /** Tokens that were predicted: all but the first of each window. */
  readonly predicted: number;
}

const slot = 0;

export const runLeader: RunLeader = ({ runner, checkAbort, post }: RankContext, job: PerplexityJob) => {
  const { tokens, windowTokens } = job;
  let surprise = 0;
  let predicted = 0;
  for (let start = 0; start + 1 < tokens.length; start += windowTokens) {
    checkAbort();
    const window = tokens.subarray(start, start + windowTokens);
    const chunk = { slot, firstPosition: 0, tokens: window, logits: 'all' } as const;
    const [logits] = runner.run({ step: start, release: start === 0 ? [] : [slot], copies: [], chunks: [chunk] });
    assert(logits?.kind === 'rows', 'every row was asked for');
    for (let i = 0; i + 1 < window.length; i++) {
      surprise -= logProbability(logits.rows[i]!, window[i + 1]!);
      predicted++;
    }
  }
  post({ perplexity: Math.exp(surprise / predicted), predicted } satisfies Perplexity);
};

function logProbability(row: Float32Array, token: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of row) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of row) sum += Math.exp(logit - largest);
  return row[token]! - largest - Math.log(sum);
}
