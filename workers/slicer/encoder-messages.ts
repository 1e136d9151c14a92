/** Between the thread that writes a package and those that encode its weights. */
import type { ThreadFailure } from './thread-failure.ts';
import type { PlannedWeight } from './weight-layout.ts';

export interface EncoderTask {
  readonly weight: PlannedWeight;
  /** Where its bytes go; comes back with the reply. */
  readonly memory: ArrayBuffer;
}

/** One for each task, in their order; none after one that failed. */
export type EncoderReply = { readonly kind: 'encoded'; readonly memory: ArrayBuffer } | ThreadFailure;
