/**
 * Which frames of one leader have come. A leader counts its frames to this router without gaps, and its status names the
 * last; so what is missing is known, by number, within one status interval.
 */

/** Frames that may be missing at once; more means that counting makes no sense any more. */
export const maxMissingFrames = 4096;

export class FrameTracker {
  #next: number;
  #overflowed = false;
  /** Sequence -> when it was noticed; in order of noticing. */
  readonly #missing = new Map<number, number>();

  /** lastFrame: of the leader when the session opened; earlier frames are of earlier sessions. */
  constructor(lastFrame: number) {
    this.#next = lastFrame + 1;
  }

  /** The number that no frame seen or announced so far has reached. */
  get next(): number {
    return this.#next;
  }

  get missingCount(): number {
    return this.#missing.size;
  }

  /** More than maxMissingFrames were missing: the tracker knows no longer which. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  /** A frame has come. False: it came before, or belongs to an earlier session. */
  take(sequence: number, nowMs: number): boolean {
    if (sequence < this.#next) return this.#missing.delete(sequence);
    this.expect(sequence - 1, nowMs);
    this.#next = sequence + 1;
    return true;
  }

  /** The leader has sent frames up to this one. */
  expect(lastFrame: number, nowMs: number): void {
    if (lastFrame - this.#next >= maxMissingFrames - this.#missing.size) {
      this.#overflowed = true;
      this.#next = lastFrame + 1;
      return;
    }
    for (; this.#next <= lastFrame; this.#next++) this.#missing.set(this.#next, nowMs);
  }

  /** All frames up to this one have come in another way. */
  cover(sequence: number): void {
    for (const missing of this.#missing.keys()) if (missing <= sequence) this.#missing.delete(missing);
    this.#next = Math.max(this.#next, sequence + 1);
  }

  /** Some frame has been missing for graceMs. */
  isLate(nowMs: number, graceMs: number): boolean {
    for (const noticedMs of this.#missing.values()) return nowMs - noticedMs >= graceMs;
    return false;
  }

  /** Frames that have been missing for graceMs; from now on they count as lost, and a late one is dropped. */
  takeLost(nowMs: number, graceMs: number): number[] {
    const lost: number[] = [];
    for (const [sequence, noticedMs] of this.#missing) {
      if (nowMs - noticedMs < graceMs) break;
      lost.push(sequence);
    }
    for (const sequence of lost) this.#missing.delete(sequence);
    return lost;
  }
}
