/** A clock for which waiting is nothing: every sleep is over at once and noted; deadlines pass when the test says so. */
import type { Clock } from '#platform/clock.ts';

export class HurriedClock implements Clock {
  readonly sleepsMs: number[] = [];
  readonly #deadlines = new Set<() => void>();
  #nowMs = 0;

  now(): number {
    return this.#nowMs;
  }

  wallTime(): number {
    return this.#nowMs;
  }

  async sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.sleepsMs.push(delayMs);
    this.#nowMs += delayMs;
  }

  after(_delayMs: number, callback: () => void): () => void {
    const deadline = (): void => callback();
    this.#deadlines.add(deadline);
    return () => this.#deadlines.delete(deadline);
  }

  every(_intervalMs: number, callback: () => void): () => void {
    return this.after(0, callback);
  }

  /** All deadlines that are set now pass. */
  expire(): void {
    const due = [...this.#deadlines];
    this.#deadlines.clear();
    for (const deadline of due) deadline();
  }
}
