/** Between the thread that owns a team and the threads of its ranks. */
import type { ErrorCode } from '#platform/errors.ts';
import type { ServingSettings } from '#proto/records.ts';
import type { AdapterCapacity } from '../adapters/adapter-memory.ts';
import type { RankContext } from './rank-context.ts';

/** What a rank's thread is started with. */
export interface RankThreadData {
  readonly packagePath: string;
  readonly rank: number;
  readonly ranks: number;
  /** Buffer of the team's memory. */
  readonly memory: SharedArrayBuffer;
  /** One word: 0 until the whole group has loaded and joined. Only then may a rank enter a collective call. */
  readonly start: SharedArrayBuffer;
  readonly serving: ServingSettings;
  readonly runtimeLibrary: string | undefined;
  /** Address of the RunSwitch that ends this thread's runs. */
  readonly runSwitch: bigint;
  /** Where the adapters of this rank lie; undefined: requests have none. */
  readonly adapters: { readonly capacity: AdapterCapacity; readonly buffer: SharedArrayBuffer } | undefined;
  /** Rank 0 only. */
  readonly job: LeaderJob | undefined;
}

/** What rank 0 does once the group is warm: a module that exports `runLeader`, and its argument. */
export interface LeaderJob {
  readonly module: string;
  readonly data: unknown;
}

/** Returns when the job is done; the group ends then. Blocks its thread. */
export type RunLeader = (context: RankContext, data: never) => void;

export type RankMessage =
  | { readonly kind: 'loading'; readonly opened: number; readonly total: number }
  | { readonly kind: 'loaded' }
  /** The first step has run. */
  | { readonly kind: 'warm' }
  /** A leader's job says something to whoever started it. */
  | { readonly kind: 'result'; readonly value: unknown }
  | { readonly kind: 'finished' }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly remedy: string | undefined;
    };
