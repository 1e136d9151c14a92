/**
 * What the worker asks of whoever runs ranks. The I/O side forms and ends teams and never looks inside one; a team never
 * sees a network client. rank-teams.ts implements it with threads; tests stand in for it.
 */
import type { RankPlacement, ServingSettings } from '#proto/records.ts';
import type { Team, TeamEvents } from '../rank/team-port.ts';

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

/** What a team tells the group it belongs to; that a thread is stuck concerns the whole process. */
export type FormationEvents = Omit<TeamEvents, 'onStuck'>;

export interface TeamHost {
  /** host:port where ranks of other processes reach the ranks of this one. */
  readonly rankAddress: string;
  /**
   * Verifies and loads the package, joins the other ranks, tests the collective and warms up. Aborting the signal ends all
   * of it: the promise rejects with the signal's reason after the threads have ended. Errors: those of StartTeam.
   */
  start(formation: TeamFormation, events: FormationEvents, signal: AbortSignal): Promise<Team>;
  close(): Promise<void>;
}
