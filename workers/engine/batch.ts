/** What a step is going to do, before any of it is done; and the same as the model runner reads it. */
import { assert } from '#platform/assert.ts';
import { bestTokenSuffices } from './sampler.ts';
import type { Sequence } from './sequence.ts';
import type { KvCopy, LogitsWanted, SequenceChunk, StepPlan } from './step.ts';

/** A waiting sequence that gets a slot. */
export interface Admission {
  readonly sequence: Sequence;
  readonly slot: number;
  /** Positions 0 .. shared-1 are copied from the donor's slot; 0 without one. */
  readonly donor: Sequence | undefined;
  readonly shared: number;
}

/** Tokens of one sequence in one forward pass. */
export interface Chunk {
  readonly sequence: Sequence;
  readonly slot: number;
  readonly first: number;
  readonly count: number;
}

export interface Batch {
  /** Running sequences that lose their slot, youngest first. */
  readonly preempted: readonly Sequence[];
  readonly admitted: readonly Admission[];
  readonly chunks: readonly Chunk[];
}

/** The chunk ends with the sequence's last token, so that the next one can be chosen. */
export function reachesEnd({ sequence, first, count }: Chunk): boolean {
  return first + count === sequence.length;
}

/** `freed` are the slots that the runner has to forget first. */
export function toStepPlan(step: number, freed: readonly number[], batch: Batch): StepPlan {
  return {
    step,
    release: freed,
    copies: batch.admitted.filter(({ donor }) => donor !== undefined).map(toCopy),
    chunks: batch.chunks.map(toSequenceChunk),
  };
}

function toCopy({ donor, slot, shared }: Admission): KvCopy {
  const from = donor?.slot;
  assert(from !== undefined, 'a donor has a slot');
  return { from, to: slot, positions: shared };
}

function toSequenceChunk(chunk: Chunk): SequenceChunk {
  const { sequence, slot, first, count } = chunk;
  const { adapter } = sequence.request;
  const named = adapter === undefined ? {} : { adapter };
  return { slot, firstPosition: first, tokens: sequence.slice(first, count), logits: wanted(chunk), ...named };
}

function wanted(chunk: Chunk): LogitsWanted {
  const { pooling } = chunk.sequence.request;
  if (pooling === 'mean') return 'hidden-sum';
  if (!reachesEnd(chunk)) return 'none';
  if (pooling === 'last') return 'hidden-last';
  return bestTokenSuffices(chunk.sequence) ? 'best' : 'last';
}
