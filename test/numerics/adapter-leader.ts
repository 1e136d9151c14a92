/** Runs a prompt with each of several adapters, alone, in chunks and together with the others, and posts the logits. */
import type { SequenceChunk } from '../../workers/engine/step.ts';
import type { RankContext } from '../../workers/rank/rank-context.ts';
import type { RunLeader } from '../../workers/rank/rank-messages.ts';
import { awaitGate } from './unruly-leader.ts';

export interface AdapterJob {
  readonly gate: SharedArrayBuffer;
  readonly prompt: readonly number[];
  /** Places to try; null: without an adapter. */
  readonly adapters: readonly (number | null)[];
}

/** By adapter: a row of logits for each position. */
export interface AdapterLogits {
  readonly alone: readonly (readonly Float32Array[])[];
  readonly chunked: readonly (readonly Float32Array[])[];
  readonly together: readonly (readonly Float32Array[])[];
}

export const runLeader: RunLeader = ({ runner, post, checkAbort }: RankContext, job: AdapterJob) => {
  awaitGate(job.gate, checkAbort);
  const tokens = Int32Array.from(job.prompt);
  let step = 0;
  const chunkOf = (slot: number, adapter: number | null, first: number, end: number): SequenceChunk => ({
    slot,
    firstPosition: first,
    tokens: tokens.subarray(first, end),
    logits: 'all',
    ...(adapter === null ? {} : { adapter }),
  });
  const run = (chunks: readonly SequenceChunk[]): Float32Array[][] => {
    const results = runner.run({ step: ++step, release: [], copies: [], chunks });
    return results.map((result) => (result.kind === 'rows' ? result.rows.map((row) => row.slice()) : []));
  };
  const release = (slots: readonly number[]) => runner.run({ step: ++step, release: slots, copies: [], chunks: [] });
  const alone = job.adapters.map((adapter) => {
    const [rows] = run([chunkOf(0, adapter, 0, tokens.length)]);
    release([0]);
    return rows!;
  });
  const chunked = job.adapters.map((adapter) => {
    const rows = [run([chunkOf(1, adapter, 0, 5)]), run([chunkOf(1, adapter, 5, 6)])].flat(2);
    rows.push(...run([chunkOf(1, adapter, 6, tokens.length)])[0]!);
    release([1]);
    return rows;
  });
  const together = run(job.adapters.map((adapter, slot) => chunkOf(slot, adapter, 0, tokens.length)));
  post({ alone, chunked, together } satisfies AdapterLogits);
};
