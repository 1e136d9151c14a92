/**
 * Collective over TeamMemory. Waits spin for a moment, because the others are nearly always nearly there, and then
 * sleep, because a core that spins is taken from whoever we wait for. Every wait checks the abort word and a deadline.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Collective } from './collective.ts';
import { hasReached, type TeamMemory } from './team-memory.ts';

export interface CollectiveTiming {
  /** How long a call may wait for the others; broadcast without bytes has no limit. */
  readonly deadlineMs: number;
  /** How long a wait spins before it sleeps. */
  readonly spinMs: number;
}

export const defaultTiming: CollectiveTiming = { deadlineMs: 30_000, spinMs: 0.05 };

/** A sleeper looks at the abort word and the clock this often even if nobody wakes it. */
const napMs = 100;
/** Looks at the clock once per so many turns of the spin loop. */
const turnsPerLook = 32;

const pause: () => void = (Atomics as { pause?: () => void }).pause ?? (() => {});

export class SharedCollective implements Collective {
  readonly rank: number;
  readonly ranks: number;
  readonly #memory: TeamMemory;
  readonly #timing: CollectiveTiming;
  #generation = 0;

  constructor(memory: TeamMemory, rank: number, timing: CollectiveTiming = defaultTiming) {
    this.#memory = memory;
    this.rank = rank;
    this.ranks = memory.ranks;
    this.#timing = timing;
  }

  partBuffer(length: number): Float32Array {
    assert(length * 4 <= this.#memory.sliceBytes, `a part of ${length} floats is larger than a slice`);
    return this.#memory.floats(this.rank, this.#generation + 1);
  }

  allReduce(part: Float32Array, length: number, sum: Float32Array): void {
    const floatsPerCall = this.#memory.sliceBytes / 4;
    for (let start = 0; start < length; start += floatsPerCall) {
      const count = Math.min(floatsPerCall, length - start);
      this.#enter(part.subarray(start, start + count));
      this.#awaitAll();
      this.#sum(sum.subarray(start, start + count));
    }
  }

  allGather(part: Uint8Array): readonly Uint8Array[] {
    const pieces = this.#gatherOnce(part);
    const sizes = pieces.map((_, rank) => this.#memory.remainingBytes(rank, this.#generation));
    const { sliceBytes } = this.#memory;
    const longest = Math.max(...sizes);
    if (longest <= sliceBytes) return pieces;
    const whole = sizes.map((size) => new Uint8Array(size));
    for (const [rank, piece] of pieces.entries()) whole[rank]!.set(piece);
    for (let start = sliceBytes; start < longest; start += sliceBytes) {
      for (const [rank, piece] of this.#gatherOnce(part.subarray(start)).entries()) {
        whole[rank]!.set(piece, Math.min(start, sizes[rank]!));
      }
    }
    return whole;
  }

  broadcast(bytes: Uint8Array | undefined): Uint8Array {
    assert((bytes !== undefined) === (this.rank === 0), 'rank 0 broadcasts, the others listen');
    const first = this.#broadcastOnce(bytes, Number.POSITIVE_INFINITY);
    const size = this.#memory.remainingBytes(0, this.#generation);
    const { sliceBytes } = this.#memory;
    if (size <= sliceBytes) return first;
    const whole = new Uint8Array(size);
    whole.set(first);
    for (let start = sliceBytes; start < size; start += sliceBytes) {
      whole.set(this.#broadcastOnce(bytes?.subarray(start), this.#deadline()), start);
    }
    return whole;
  }

  abort(reason: string): void {
    this.#memory.abort(reason);
  }

  close(): void {
    this.#memory.abort(`rank ${this.rank} left`);
  }

  /** Puts as much of this rank's part in place as a slice holds (no copy when it is there already) and says so. */
  #enter(part: ArrayBufferView): void {
    const generation = (this.#generation + 1) | 0;
    const slice = this.#memory.slice(this.rank, generation);
    if (part.buffer !== slice.buffer || part.byteOffset !== slice.byteOffset) {
      const bytes = Math.min(part.byteLength, slice.length);
      slice.set(new Uint8Array(part.buffer, part.byteOffset, bytes));
    }
    this.#generation = generation;
    this.#memory.publish(this.rank, generation, part.byteLength);
  }

  #deadline(): number {
    return performance.now() + this.#timing.deadlineMs;
  }

  #awaitAll(): void {
    const deadline = this.#deadline();
    for (let rank = 0; rank < this.ranks; rank++) {
      if (rank !== this.rank) this.#awaitRank(rank, this.#generation, deadline);
    }
  }

  #sum(sum: Float32Array): void {
    const { ranks } = this;
    const first = this.#memory.floats(0, this.#generation);
    if (ranks === 1) return sum.set(first.subarray(0, sum.length));
    const second = this.#memory.floats(1, this.#generation);
    for (let i = 0; i < sum.length; i++) sum[i] = first[i]! + second[i]!;
    for (let rank = 2; rank < ranks; rank++) {
      const next = this.#memory.floats(rank, this.#generation);
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + next[i]!;
    }
  }

  #gatherOnce(part: Uint8Array): Uint8Array[] {
    this.#enter(part);
    this.#awaitAll();
    return Array.from({ length: this.ranks }, (_, rank) => this.#partOf(rank));
  }

  #broadcastOnce(bytes: Uint8Array | undefined, listenUntil: number): Uint8Array {
    // Nobody answers a broadcast, so rank 0 first makes sure that the slice it is about to use has been read.
    if (bytes) {
      const deadline = this.#deadline();
      for (let rank = 1; rank < this.ranks; rank++) this.#awaitRank(rank, this.#generation, deadline);
    }
    this.#enter(bytes ?? new Uint8Array(0));
    if (!bytes) this.#awaitRank(0, this.#generation, listenUntil);
    return this.#partOf(0);
  }

  #partOf(rank: number): Uint8Array {
    const size = Math.min(this.#memory.remainingBytes(rank, this.#generation), this.#memory.sliceBytes);
    return this.#memory.slice(rank, this.#generation).subarray(0, size);
  }

  #awaitRank(rank: number, generation: number, deadline: number): void {
    const memory = this.#memory;
    if (hasReached(memory.generation(rank), generation)) return;
    const spinUntil = performance.now() + this.#timing.spinMs;
    do {
      for (let turn = 0; turn < turnsPerLook; turn++) {
        if (hasReached(memory.generation(rank), generation)) return;
        pause();
      }
      this.#checkAbort();
    } while (performance.now() < spinUntil);
    this.#sleepUntil(rank, generation, deadline);
  }

  #sleepUntil(rank: number, generation: number, deadline: number): void {
    const memory = this.#memory;
    memory.enterSleep(rank);
    try {
      for (;;) {
        const seen = memory.generation(rank);
        if (hasReached(seen, generation)) return;
        this.#checkAbort();
        if (performance.now() > deadline) this.#missDeadline(rank);
        Atomics.wait(memory.words, memory.generationIndex(rank), seen, napMs);
      }
    } finally {
      memory.leaveSleep(rank);
    }
  }

  #missDeadline(rank: number): never {
    const message = `rank ${rank} did not come within ${this.#timing.deadlineMs} ms`;
    this.#memory.abort(message);
    throw new TriremeError('DEADLINE_EXCEEDED', message);
  }

  #checkAbort(): void {
    if (this.#memory.aborted) throw new TriremeError('RANK_FAILED', this.#memory.abortReason);
  }
}
