/** What rank 0 does for a comparison of predictions: runs windows of tokens and posts all their logits. */
import { assert } from '#platform/assert.ts';
import type { RankContext } from '../../../workers/rank/rank-context.ts';
import type { RunLeader } from '../../../workers/rank/rank-messages.ts';

export interface LogitsJob {
  /** Each starts from nothing. */
  readonly windows: readonly Int32Array[];
}

/** Of each window, its tokens' rows one behind the other: [tokens, vocabulary]. */
export type WindowLogits = readonly Float32Array[];

const slot = 0;

export const runLeader: RunLeader = ({ runner, checkAbort, post }: RankContext, { windows }: LogitsJob) => {
  const logits = windows.map((tokens, step) => {
    checkAbort();
    const chunk = { slot, firstPosition: 0, tokens, logits: 'all' } as const;
    const [result] = runner.run({ step, release: step === 0 ? [] : [slot], copies: [], chunks: [chunk] });
    assert(result?.kind === 'rows', 'every row was asked for');
    const all = new Float32Array(tokens.length * runner.vocabularySize);
    for (const [i, row] of result.rows.entries()) all.set(row, i * runner.vocabularySize);
    return all;
  });
  post(logits satisfies WindowLogits);
};
