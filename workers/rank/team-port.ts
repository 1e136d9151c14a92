/**
 * What a process says to run its ranks of one formation of a group, and what it holds then. team.ts implements it with a
 * thread for every rank.
 */
import type { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { FormProgress } from '#proto/control.ts';
import type { EngineCommand, EngineReport } from '#proto/rank.ts';
import type { ServingSettings } from '#proto/records.ts';
import type { AdapterMemory } from '../adapters/adapter-memory.ts';
import type { RankGate } from '../collectives/rank-gate.ts';

/** How ranks of other processes are met. */
export interface RemoteRanks {
  /** Where other processes reach this one; one a process, whatever the number of teams. */
  readonly gate: RankGate;
  readonly group: string;
  readonly epoch: number;
  /** host:port of every rank's gate, by rank. */
  readonly addresses: readonly string[];
  /** Proven in both directions when processes join. */
  readonly secret: Uint8Array;
  /** How long to wait for the other processes once the local ranks have loaded. */
  readonly joinTimeoutMs?: number;
}

export interface TeamEvents {
  /** VERIFYING and LOADING in bytes and pieces, JOINING once every local rank has loaded. */
  onProgress(progress: FormProgress): void;
  /** In the process of rank 0 only, in order. */
  onReport(report: EngineReport): void;
  /** At most once, after startTeam() resolved and unless stop() was called: the team computes no more. */
  onExit(error: TriremeError): void;
  /**
   * A thread did not return from native code within its time. It can be neither ended nor left behind: the process must
   * exit at once, with the error's status.
   */
  onStuck(error: TriremeError): void;
}

export interface TeamOptions {
  readonly packagePath: string;
  /** Ranks of the group. */
  readonly ranks: number;
  /** Those of this process, ascending. With rank 0 among them the engine lives here too. */
  readonly localRanks: readonly number[];
  readonly serving: ServingSettings;
  /** Absent when all ranks are local. */
  readonly remote?: RemoteRanks;
  /** Path of libonnxruntime; default: the one in the npm package. */
  readonly runtimeLibrary?: string;
  readonly events: TeamEvents;
  /** Ends a start under way: it rejects with the signal's reason after the threads have ended. */
  readonly signal?: AbortSignal;
  readonly log: Logger;
}

export interface Team {
  /** Where adapters lie, by local rank; empty where requests have none. */
  readonly adapters: ReadonlyMap<number, AdapterMemory>;
  /**
   * To rank 0's engine, in the process of rank 0. False: the ring is full or the team is ending, nothing was sent.
   * Errors: MESSAGE_TOO_LARGE for a command above commandBytesMax.
   */
  send(command: EngineCommand): boolean;
  /** Makes every rank of the group end with RANK_FAILED and this reason, in other processes too; onExit follows. */
  abort(reason: string): void;
  /** Ends the ranks and resolves when their threads have ended (or onStuck was called). Idempotent. */
  stop(): Promise<void>;
}

/**
 * Verifies and loads the package, joins the other ranks, tests the collective and runs a first step; resolves when warm.
 * Errors: those of loading (NOT_A_PACKAGE, DIGEST_MISMATCH, TRUNCATED_FILE, RUNTIME_ERROR); RANK_FAILED or
 * DEADLINE_EXCEEDED when the others do not come; STALE_EPOCH when they are further.
 */
export type StartTeam = (options: TeamOptions) => Promise<Team>;
