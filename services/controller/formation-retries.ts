/** When a group whose formation failed may form again: at once the first time, then after growing pauses. Time is an argument. */

export interface RetryLimits {
  readonly firstDelayMs: number;
  /** The pauses double up to this. A group is tried for ever; its record says why it failed last. */
  readonly delayMsMax: number;
  /** Ready for so long, a group counts as sound again. */
  readonly soundAfterMs: number;
}

export class FormationRetries {
  /** By group: the time before which no formation starts. */
  readonly retryAtMs = new Map<string, number>();
  readonly #failures = new Map<string, number>();
  readonly #readySinceMs = new Map<string, number>();
  readonly #limits: RetryLimits;

  constructor(limits: RetryLimits) {
    this.#limits = limits;
  }

  onReady(group: string, nowMs: number): void {
    this.#readySinceMs.set(group, nowMs);
  }

  /** A formation that failed or a team that ended by itself; a worker that went says nothing against the group. */
  onFailure(group: string, nowMs: number): void {
    const { firstDelayMs, delayMsMax, soundAfterMs } = this.#limits;
    const readySinceMs = this.#readySinceMs.get(group);
    if (readySinceMs !== undefined && nowMs - readySinceMs >= soundAfterMs) this.#failures.delete(group);
    this.#readySinceMs.delete(group);
    const failures = (this.#failures.get(group) ?? 0) + 1;
    this.#failures.set(group, failures);
    const delayMs = failures === 1 ? 0 : Math.min(firstDelayMs * 2 ** (failures - 2), delayMsMax);
    this.retryAtMs.set(group, nowMs + delayMs);
  }

  forget(group: string): void {
    for (const map of [this.retryAtMs, this.#failures, this.#readySinceMs]) map.delete(group);
  }
}
