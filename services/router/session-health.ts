/**
 * Whether a leader is alive: it speaks (a status every 250 ms) and, while it has work, its steps end. Time is counted in
 * ticks of the router's own loop, none longer than twice its interval, so that a pause of the router itself (a suspended
 * process, a long parse) is not taken for the silence of every leader.
 */

export interface HealthLimits {
  readonly silenceLimit: number;
  readonly stallLimit: number;
  readonly stallSteps: number;
  readonly firstStepLimit: number;
}

/** Step durations that the median is taken of. */
const maxSamples = 31;
/** Below so many the usual duration is not known. */
const minSamples = 3;

export class SessionHealth {
  #silentMs = 0;
  /** Since the last step ended, counted only while there is work. */
  #stillMs = 0;
  #step: number;
  /** When the step before ended, or the engine was last seen idle. */
  #movedMs: number;
  #samples: number[] = [];
  readonly #limits: HealthLimits;

  constructor(limits: HealthLimits, step: number, nowMs: number) {
    this.#limits = limits;
    this.#step = step;
    this.#movedMs = nowMs;
  }

  /** Any message has come. */
  onMessage(): void {
    this.#silentMs = 0;
  }

  /** busy: sequences run or wait at the engine. */
  onStatus(step: number, busy: boolean, nowMs: number): void {
    if (step !== this.#step) {
      this.#addSample((nowMs - this.#movedMs) / (step - this.#step));
      this.#step = step;
      this.#stillMs = 0;
      this.#movedMs = nowMs;
    } else if (!busy) {
      this.#movedMs = nowMs;
    }
  }

  /** What is wrong, in words, or undefined. hasWork: this router has attempts there. */
  tick(elapsedMs: number, hasWork: boolean): string | undefined {
    this.#silentMs += elapsedMs;
    this.#stillMs = hasWork ? this.#stillMs + elapsedMs : 0;
    const { silenceLimit } = this.#limits;
    if (this.#silentMs >= silenceLimit) return `it said nothing for ${silenceLimit} ms`;
    const limit = this.#stepLimit();
    if (this.#stillMs >= limit) return `its step ${this.#step + 1} did not end within ${Math.round(limit)} ms`;
    return undefined;
  }

  #stepLimit(): number {
    const { stallLimit, stallSteps, firstStepLimit } = this.#limits;
    if (this.#samples.length < minSamples) return firstStepLimit;
    if (this.#stillMs < stallLimit) return stallLimit;
    const sorted = [...this.#samples].sort((a, b) => a - b);
    return Math.max(stallLimit, stallSteps * sorted[sorted.length >> 1]!);
  }

  #addSample(durationMs: number): void {
    this.#samples.push(durationMs);
    if (this.#samples.length > maxSamples) this.#samples.shift();
  }
}
