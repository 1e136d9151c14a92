/**
 * What the worker asks of whoever runs ranks. The I/O side forms and ends teams and never looks inside one; a team never
 * sees a network client. rank-teams.ts implements it with threads; tests stand in for it.
 */
import type { TriremeError } from '#platform/errors.ts';
import type { FormProgress } from '#proto/control.ts';
import type { EngineCommand, EngineReport } from '#proto/rank.ts';
import type { RankPlacement, ServingSettings } from '#proto/records.ts';

/** One process' part in one formation of a group. */
export interface TeamFormation {
  readonly group: string;
  readonly epoch: number;
  readonly packagePath: string;
  readonly serving: ServingSettings;
  /** Every rank of the group, by rank. */
  readonly ranks: readonly RankPlacement[];
  /** Those that live in this process, ascending; with rank 0 among them the engine lives here too. */
  readonly localRanks: readonly number[];
  /** Proven by ranks of other processes when they join. */
  readonly secret: Uint8Array;
}

export interface TeamEvents {
  /** VERIFYING, LOADING and JOINING; JOINING means that every local rank is loaded. */
  onProgress(progress: FormProgress): void;
  /** Of the team with rank 0 only, in order. */
  onReport(report: EngineReport): void;
  /** At most once, after start() resolved and unless stop() was called: the team computes no more. stop() must follow. */
  onExit(error: TriremeError): void;
}

export interface Team {
  /** To rank 0's engine. False: its ring is full, nothing was sent. */
  send(command: EngineCommand): boolean;
  /** Ends the ranks and resolves when their threads have ended. Idempotent. See StuckHandler for a thread that does not. */
  stop(): Promise<void>;
}

/**
 * Called when a thread does not return from native code within its time. It can be neither ended nor left behind: the
 * process must exit at once, with the error's status.
 */
export type StuckHandler = (error: TriremeError) => void;

export interface TeamHost {
  /** host:port where ranks of other processes reach the ranks of this one. */
  readonly rankAddress: string;
  /**
   * Verifies and loads the package, joins the other ranks, tests the collective and warms up. Aborting the signal ends all
   * of it: the promise rejects with the signal's reason after the threads have ended. Errors: those of loading; RANK_FAILED
   * or DEADLINE_EXCEEDED when the others do not come.
   */
  start(formation: TeamFormation, events: TeamEvents, signal: AbortSignal): Promise<Team>;
  close(): Promise<void>;
}

/** Makes a host whose ranks listen at `listen` (host:port, port 0: any free one). Errors: PORT_IN_USE, INVALID_CONFIG. */
export type OpenTeams = (listen: string, onStuck: StuckHandler) => Promise<TeamHost>;
