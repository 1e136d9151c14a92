/**
 * Collective over TeamMemory. Waits spin for a moment, because the others are nearly always nearly there, and then
 * sleep, because a core that spins is taken from whoever we wait for. Every wait checks the abort word and a deadline.
 *
 * Before a rank writes its part of generation g it has seen everybody enter g - 1, so nobody still reads what it
 * overwrites (team-memory.ts). After a sum or a gather that is known already; a broadcast does not say it, so the call
 * after one looks again.
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
const nothing = new Uint8Array(0);

export class SharedCollective implements Collective {
  readonly rank: number;
  readonly ranks: number;
  readonly #memory: TeamMemory;
  readonly #timing: CollectiveTiming;
  #generation = 0;
  /** Everybody has entered #generation. */
  #isTogether = true;
  /** For parts longer than a slice. */
  #longPart = new Float32Array(0);

  constructor(memory: TeamMemory, rank: number, timing: CollectiveTiming = defaultTiming) {
    this.#memory = memory;
    this.rank = rank;
    this.ranks = memory.ranks;
    this.#timing = timing;
  }

  partBuffer(length: number): Float32Array {
    if (length * 4 <= this.#memory.sliceBytes) {
      this.#comeTogether();
      return this.#memory.floats(this.rank, this.#generation + 1);
    }
    if (this.#longPart.length < length) this.#longPart = new Float32Array(Math.max(length, 2 * this.#longPart.length));
    return this.#longPart;
  }

  allReduce(part: Float32Array, length: number, sum: Float32Array): void {
    const floatsPerCall = this.#memory.sliceBytes / 4;
    for (let start = 0; start < length; start += floatsPerCall) {
      const count = Math.min(floatsPerCall, length - start);
      this.#comeTogether();
      const slice = this.#memory.floats(this.rank, this.#generation + 1);
      if (part !== slice) slice.set(part.subarray(start, start + count));
      this.#enter(count * 4);
      this.#comeTogether();
      this.#sum(sum, start, count);
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

  /** Says that this rank's part of the next generation is in place, as far as a slice holds it. */
  #enter(partBytes: number): void {
    this.#generation = (this.#generation + 1) | 0;
    this.#isTogether = this.ranks === 1;
    this.#memory.publish(this.rank, this.#generation, partBytes);
  }

  #enterWith(part: Uint8Array): void {
    this.#comeTogether();
    const slice = this.#memory.slice(this.rank, this.#generation + 1);
    slice.set(part.length <= slice.length ? part : part.subarray(0, slice.length));
    this.#enter(part.length);
  }

  #deadline(): number {
    return performance.now() + this.#timing.deadlineMs;
  }

  /** Waits until everybody has entered this generation. */
  #comeTogether(): void {
    if (this.#isTogether) return;
    for (let rank = 0; rank < this.ranks; rank++) this.#awaitRank(rank, undefined);
    this.#isTogether = true;
  }

  #sum(sum: Float32Array, start: number, count: number): void {
    const { ranks } = this;
    const first = this.#memory.floats(0, this.#generation);
    if (ranks === 1) return sum.set(first.subarray(0, count), start);
    const second = this.#memory.floats(1, this.#generation);
    for (let i = 0; i < count; i++) sum[start + i] = first[i]! + second[i]!;
    for (let rank = 2; rank < ranks; rank++) {
      const next = this.#memory.floats(rank, this.#generation);
      for (let i = 0; i < count; i++) sum[start + i] = sum[start + i]! + next[i]!;
    }
  }

  #gatherOnce(part: Uint8Array): Uint8Array[] {
    this.#enterWith(part);
    this.#comeTogether();
    return Array.from({ length: this.ranks }, (_, rank) => this.#partOf(rank));
  }

  #broadcastOnce(bytes: Uint8Array | undefined, listenUntil: number): Uint8Array {
    this.#enterWith(bytes ?? nothing);
    if (!bytes) this.#awaitRank(0, listenUntil);
    return this.#partOf(0);
  }

  #partOf(rank: number): Uint8Array {
    const size = Math.min(this.#memory.remainingBytes(rank, this.#generation), this.#memory.sliceBytes);
    return this.#memory.slice(rank, this.#generation).subarray(0, size);
  }

  /** `deadline` undefined: the usual one, from now on. */
  #awaitRank(rank: number, deadline: number | undefined): void {
    const memory = this.#memory;
    const generation = this.#generation;
    if (hasReached(memory.generation(rank), generation)) return;
    const start = performance.now();
    do {
      for (let turn = 0; turn < turnsPerLook; turn++) {
        if (hasReached(memory.generation(rank), generation)) return;
        pause();
      }
    } while (performance.now() - start < this.#timing.spinMs);
    this.#sleepUntil(rank, generation, deadline ?? start + this.#timing.deadlineMs);
  }

  #sleepUntil(rank: number, generation: number, deadline: number): void {
    const memory = this.#memory;
    memory.enterSleep(rank);
    try {
      for (;;) {
        // In this order: what a rank said before it aborted still counts.
        const { aborted } = memory;
        const seen = memory.generation(rank);
        if (hasReached(seen, generation)) return;
        if (aborted) throw new TriremeError('RANK_FAILED', memory.abortReason);
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
}
