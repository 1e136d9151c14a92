/** Where ranks of other processes knock. */

export interface RankGate {
  /** host:port on which it listens. */
  readonly address: string;
  /** Ends connections under way; those that have joined a team are the team's. */
  close(): Promise<void>;
}

/** Listens on host:port, port 0 for any free one. Errors: PORT_IN_USE. */
export type OpenRankGate = (address: string) => Promise<RankGate>;
