/** Teams of rank threads in this process, and the gate by which ranks of other processes reach them. */
import type { Logger } from '#platform/log.ts';
import type { RankGate } from '../collectives/rank-gate.ts';
import { openRankGate } from '../collectives/rank-gate.ts';
import { startTeam } from '../rank/team.ts';
import type { Team, TeamEvents } from '../rank/team-port.ts';
import type { FormationEvents, TeamFormation, TeamHost } from './team-port.ts';

export interface RankTeamsOptions {
  /** host:port of the gate; port 0: any free one. */
  readonly listen: string;
  readonly onStuck: TeamEvents['onStuck'];
  readonly log: Logger;
}

/** Errors: PORT_IN_USE, INVALID_CONFIG. */
export async function openRankTeams(options: RankTeamsOptions): Promise<TeamHost> {
  return new RankTeams(await openRankGate(options.listen), options);
}

class RankTeams implements TeamHost {
  readonly #gate: RankGate;
  readonly #options: RankTeamsOptions;

  constructor(gate: RankGate, options: RankTeamsOptions) {
    this.#gate = gate;
    this.#options = options;
  }

  get rankAddress(): string {
    return this.#gate.address;
  }

  async start(formation: TeamFormation, events: FormationEvents, signal: AbortSignal): Promise<Team> {
    const { group, epoch, packagePath, serving, ranks, localRanks, secret } = formation;
    const { log, onStuck } = this.#options;
    const addresses = ranks.map(({ rankAddress }) => rankAddress);
    const remote = { gate: this.#gate, group, epoch, addresses, secret };
    return startTeam({
      packagePath,
      ranks: ranks.length,
      localRanks,
      serving,
      events: { ...events, onStuck },
      signal,
      log,
      ...(localRanks.length < ranks.length ? { remote } : {}),
    });
  }

  close(): Promise<void> {
    return this.#gate.close();
  }
}
