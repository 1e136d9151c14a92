/**
 * The engine: sequences join and leave at every step. It decides from its input alone; it reads no clock, draws no
 * randomness of its own and knows nothing of text, networks or addresses of memory.
 */
import { unreachable } from '#platform/assert.ts';
import type { EngineLoad, StepOutput } from './output.ts';
import type { Refusal } from './refusal.ts';
import type { EngineRequest, RequestKey } from './request.ts';
import type { ModelRunner } from './step.ts';

export interface EngineSettings {
  /** Capacity in blocks of 16 positions, all sequences together. */
  readonly kvBlocks: number;
  /** Slots: sequences that run at once. */
  readonly maxSequences: number;
  /** Tokens of one forward pass; at least maxSequences, so that every decoding sequence always has its row. */
  readonly stepTokens: number;
  /** Sequences that may wait beside the running ones. */
  readonly maxWaiting: number;
}

export interface EngineOptions {
  readonly runner: ModelRunner;
  readonly settings: EngineSettings;
  /** The model's end tokens; a request may ignore them. */
  readonly endTokens: readonly number[];
}

export type SubmitOutcome = { readonly kind: 'accepted' } | Refusal;

export interface SequenceName {
  readonly key: RequestKey;
  readonly choice: number;
}

export class Engine {
  /** Errors: INVALID_CONFIG for settings that contradict each other or the model. */
  constructor(options: EngineOptions) {
    unreachable(options as never);
  }

  /**
   * Takes a request or says why not: NO_ROOM when the waiting line is full (another group may have room),
   * PROMPT_TOO_LONG or INVALID_ARGUMENT when it could never run here.
   */
  submit(request: EngineRequest): SubmitOutcome {
    return unreachable(request as never);
  }

  /** Forgets choices (all by default) of a request, without a further output; their blocks are free at once. Unknown keys and choices are ignored. */
  cancel(key: RequestKey, choices?: readonly number[]): void {
    unreachable([key, choices] as never);
  }

  /** Nothing in flight: step() would do nothing. */
  get idle(): boolean {
    return true;
  }

  /**
   * One step: schedule, run, commit. Errors: what the runner throws; nothing is committed then, the runner is not called
   * again, and the caller ends what abortAll() names.
   */
  step(): StepOutput {
    return unreachable(this as never);
  }

  status(): EngineLoad {
    return unreachable(this as never);
  }

  /** Drops everything in flight and names it, in order of arrival. */
  abortAll(): readonly SequenceName[] {
    return unreachable(this as never);
  }
}
