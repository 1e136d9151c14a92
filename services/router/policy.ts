/** Which group gets a request. A policy sees a snapshot, decides at once and never waits. */

export interface GroupLoad {
  readonly group: string;
  /** Sequences that the group can run together. */
  readonly maxSequences: number;
  /** Sequences that run or wait there, as far as this router knows: the leader's last word plus what was sent since. */
  readonly sequences: number;
}

export interface PickRequest {
  readonly model: string;
  /** Choices; each becomes a sequence. */
  readonly n: number;
}

export interface Policy {
  /** One of the groups, all of which are ready and have room; undefined only when there is none. */
  pick<Group extends GroupLoad>(request: PickRequest, fleet: readonly Group[]): Group | undefined;
}
