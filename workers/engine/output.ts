/** What comes out of a step: tokens and ends of sequences, and the engine's load. */
import type { ErrorCode } from '#platform/errors.ts';
import type { RequestKey } from './request.ts';

/** stop: an end or stop token, which is the last of the tokens. length: maxTokens, or the context is full. */
export type FinishReason = 'stop' | 'length';

export interface TopLogprob {
  readonly token: number;
  readonly logprob: number;
}

/** Natural logarithms of probabilities under the raw logits: before bias, penalties, temperature and filters. */
export interface TokenLogprobs {
  /** Of the chosen token. */
  readonly logprob: number;
  /** The most probable tokens, best first, whether the chosen one is among them or not. */
  readonly top: readonly TopLogprob[];
}

export interface SequenceError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** One sequence's share of a step. A sequence ends in exactly one output that has `finish` or `error`, unless cancelled. */
export interface SequenceOutput {
  readonly key: RequestKey;
  readonly choice: number;
  /** Of tokens[0]; counts the choice's generated tokens from 0, those of earlier attempts included. */
  readonly firstPosition: number;
  /** Empty only where a sequence ends without a further token. */
  readonly tokens: readonly number[];
  /** One per token when asked for, else empty. */
  readonly logprobs: readonly TokenLogprobs[];
  readonly finish: FinishReason | undefined;
  /** [hidden]; of a request with pooling, when it ends. */
  readonly embedding?: Float32Array;
  readonly error: SequenceError | undefined;
}

export interface StepOutput {
  /** Number of the last forward pass; unchanged when there was nothing to run. */
  readonly step: number;
  readonly entries: readonly SequenceOutput[];
}

/** Running, waiting and used blocks are zero when nothing is in flight. */
export interface EngineLoad {
  readonly step: number;
  /** Sequences that hold a slot. */
  readonly running: number;
  /** Sequences that wait for one, preempted ones included. */
  readonly waiting: number;
  readonly freeSequences: number;
  readonly freeBlocks: number;
  readonly totalBlocks: number;
  /** Tokens sampled since the engine was made. */
  readonly generatedTokens: number;
  /** Prompt tokens of the requests that got as far as a first token; recomputation does not count again. */
  readonly promptTokens: number;
  readonly preemptions: number;
}
