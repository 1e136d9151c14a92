/** Every limit of the worker's I/O side, each with what happens when it is hit. */
export interface WorkerLimits {
  /** Routers with a session at one leader. One more: its Hello is refused with NO_ROOM. */
  readonly sessionsMax: number;
  /** Routers whose frame count is remembered after their session ended. One more: the oldest is forgotten. */
  readonly pastRoutersMax: number;
  /** Attempts of one router that run here. One more: refused with NO_ROOM. */
  readonly runningAttemptsMax: number;
  /** Ended attempts of one router that wait for its acknowledgement. One more: the oldest is forgotten. */
  readonly endedAttemptsMax: number;
  /** Tokens that those hold together. More: the oldest attempt is forgotten. */
  readonly endedTokensMax: number;
  /** A session opens with Hello within this time, else it ends with DEADLINE_EXCEEDED. */
  readonly helloTimeoutMs: number;
  /** Groups whose last epoch is remembered. One more: the one least recently formed or disbanded is forgotten. */
  readonly pastGroupsMax: number;
}

export const defaultLimits: WorkerLimits = {
  sessionsMax: 256,
  pastRoutersMax: 256,
  runningAttemptsMax: 4096,
  endedAttemptsMax: 1024,
  endedTokensMax: 4_000_000,
  helloTimeoutMs: 5000,
  pastGroupsMax: 1024,
};

/** After the time that a drain may take: how long the controller may take to end what is left, before the worker does. */
export const handoverMs = 5000;

/** How often a leader tells its routers its load; the protocol's figure, by which routers recognise a dead leader. */
export const statusIntervalMs = 250;
