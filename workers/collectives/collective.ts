/**
 * What the ranks of a group do together. Calls block the calling thread, are made by every rank in the same order,
 * and end in one of three ways: done, RANK_FAILED (a peer went, or somebody aborted), DEADLINE_EXCEEDED.
 * After an error the collective is void. Implementations pass test/contract/collective-contract.ts.
 */
export interface Collective {
  readonly rank: number;
  readonly ranks: number;
  /**
   * A buffer of at least `length` floats to write this rank's part into before allReduce(buffer, length). Using it saves
   * a copy; it stays valid until the call after next.
   */
  partBuffer(length: number): Float32Array;
  /** Sums part[0..length) over ranks, always in rank order, so the bits do not depend on timing or transport. */
  allReduce(part: Float32Array, length: number, sum: Float32Array): void;
  /** Every rank's part, in rank order. Parts may differ in length. Valid until the next call. */
  allGather(part: Uint8Array): readonly Uint8Array[];
  /** Rank 0's bytes to all. Others pass undefined and may wait without limit (for work), but never past an abort. */
  broadcast(bytes: Uint8Array | undefined): Uint8Array;
  /** Makes every wait here and at the peers end with RANK_FAILED. Safe from any thread, at any time, twice. */
  abort(reason: string): void;
  close(): void;
}
