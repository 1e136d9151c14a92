/**
 * What the engine asks of a model: one forward pass over chunks of several sequences. The engine plans in slots,
 * positions and blocks; where a slot's keys and values live is the affair of whoever implements ModelRunner.
 */

/** How much of a chunk's output the engine needs. */
export type LogitsWanted =
  /** None: an inner chunk of a prompt. */
  | 'none'
  /** The best token of the last row (lowest id on a tie). */
  | 'best'
  /** The last row. */
  | 'last'
  /** Every row. */
  | 'all'
  /** Not logits but what they would be computed from, normalised: of the last row. */
  | 'hidden-last'
  /** The same of every row, added up. */
  | 'hidden-sum';

export interface SequenceChunk {
  /** Which sequence's keys and values: 0 .. maxSequences-1. */
  readonly slot: number;
  /** Position of tokens[0]; everything before it is in the slot's cache already. */
  readonly firstPosition: number;
  readonly tokens: Int32Array;
  readonly logits: LogitsWanted;
  /** Which of the loaded adapters the model has for these tokens; undefined: none. */
  readonly adapter?: number;
}

/** Copies the keys and values of positions 0 .. positions-1 between slots; `to` must be empty. */
export interface KvCopy {
  readonly from: number;
  readonly to: number;
  readonly positions: number;
}

/** One step: first the releases, then the copies, then the rows, each in order. Chunks name distinct slots. */
export interface StepPlan {
  readonly step: number;
  readonly release: readonly number[];
  readonly copies: readonly KvCopy[];
  readonly chunks: readonly SequenceChunk[];
}

export type ChunkLogits =
  | { readonly kind: 'none' }
  | { readonly kind: 'best'; readonly token: number; readonly logit: number }
  /** rows x vocabulary, row-major; valid until the next run() only. */
  | { readonly kind: 'rows'; readonly rows: readonly Float32Array[] }
  /** [hidden]; valid until the next run() only. */
  | { readonly kind: 'hidden'; readonly values: Float32Array };

/**
 * Runs steps, one at a time, to the end. Errors: TriremeError RUNTIME_ERROR or RANK_FAILED; after one the runner's
 * caches are void and it must not be used again.
 */
export interface ModelRunner {
  readonly vocabularySize: number;
  readonly contextLength: number;
  /** False for a model that keeps a state instead of positions: a sequence cannot start from part of another's. */
  readonly canCopy: boolean;
  /** The result lists the plan's chunks in order. */
  run(plan: StepPlan): readonly ChunkLogits[];
}
