/** What a group does before it is ready: adds numbers whose sum is known, and runs a first step. */
import { TriremeError } from '#platform/errors.ts';
import type { ServingSettings } from '#proto/records.ts';
import type { Collective } from '../collectives/collective.ts';
import { blockPositions } from '../engine/block-pool.ts';
import type { LeaderRunner } from './leader-runner.ts';

const testFloats = 1000;
const warmUpTokens = 8;

/** Every rank contributes i + its number at place i. Errors: RANK_FAILED when a sum is wrong. */
export function testCollective(collective: Collective): void {
  const { rank, ranks } = collective;
  const sum = new Float32Array(testFloats);
  collective.allReduce(
    Float32Array.from(sum, (_, i) => i + rank),
    testFloats,
    sum,
  );
  const wrong = sum.findIndex((value, i) => value !== ranks * i + (ranks * (ranks - 1)) / 2);
  if (wrong < 0) return;
  throw new TriremeError('RANK_FAILED', `the self-test sum is ${sum[wrong]} at place ${wrong}: ranks do not add up`, {
    remedy: 'Look for workers of different versions in the group',
  });
}

/** A short prompt, so that every session has run once, and its release. */
export function warmUp(runner: LeaderRunner, { kvBlocks, stepTokens }: ServingSettings): void {
  const count = Math.min(warmUpTokens, stepTokens, kvBlocks * blockPositions, runner.contextLength);
  const tokens = new Int32Array(count);
  runner.run({ step: 0, release: [], copies: [], chunks: [{ slot: 0, firstPosition: 0, tokens, logits: 'best' }] });
  runner.run({ step: 0, release: [0], copies: [], chunks: [] });
}
