/** A step's plan as the ranks of a group tell each other. */
import { assert } from '#platform/assert.ts';
import { RankStep } from '#proto/rank.ts';
import type { LogitsWanted, StepPlan } from '../engine/step.ts';

/** By the number on the wire. */
const wanted: readonly LogitsWanted[] = ['none', 'best', 'last', 'all', 'hidden-last', 'hidden-sum'];

export function encodeStep(plan: StepPlan): Uint8Array {
  const chunks = plan.chunks.map(({ slot, firstPosition, tokens, logits, adapter }) => {
    return { slot, firstPosition, tokens: [...tokens], logits: wanted.indexOf(logits), adapter };
  });
  const { step, release, copies } = plan;
  return RankStep.encode({ step, release: [...release], copies: [...copies], chunks, stop: false }).finish();
}

/** The last message of a leader. */
export function encodeStop(): Uint8Array {
  return RankStep.encode(RankStep.fromPartial({ stop: true })).finish();
}

/** Undefined: the leader is done. */
export function decodeStep(bytes: Uint8Array): StepPlan | undefined {
  const { stop, step, release, copies, chunks } = RankStep.decode(bytes);
  if (stop) return undefined;
  return {
    step,
    release,
    copies,
    chunks: chunks.map(({ slot, firstPosition, tokens, logits, adapter }) => {
      const kind = wanted[logits];
      assert(kind, `logits of kind ${logits} are unknown`);
      const named = adapter === undefined ? {} : { adapter };
      return { slot, firstPosition, tokens: Int32Array.from(tokens), logits: kind, ...named };
    }),
  };
}
