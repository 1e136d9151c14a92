/** When a failed request is tried again, and when it is given up. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';

/** A failure that another try may mend: an overloaded server, a broken connection. */
export class TransientFailure extends Error {
  override readonly name = 'TransientFailure';
  /** What to tell when no other try is left. */
  readonly error: TriremeError;
  /** The server's own wish. */
  readonly retryAfterMs: number | undefined;

  constructor(error: TriremeError, retryAfterMs?: number) {
    super(error.message);
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface RetryLimits {
  /** Tries in a row without success, the first included. */
  readonly attempts: number;
  /** Before the second try; doubles from then on. */
  readonly firstDelayMs: number;
  readonly maxDelayMs: number;
  /** A server that wants more patience than this is not waited for. */
  readonly maxRetryAfterMs: number;
}

/** The Hub counts requests over windows of five minutes. */
export const retryLimits: RetryLimits = {
  attempts: 6,
  firstDelayMs: 500,
  maxDelayMs: 20_000,
  maxRetryAfterMs: 300_000,
};

/** Counts the tries of one request. */
export class Retries {
  #failures = 0;
  readonly #limits: RetryLimits;
  readonly #clock: Clock;
  readonly #random: RandomSource;

  constructor(limits: RetryLimits, clock: Clock, random: RandomSource) {
    this.#limits = limits;
    this.#clock = clock;
    this.#random = random;
  }

  /** Something came through: the count begins anew. */
  onProgress(): void {
    this.#failures = 0;
  }

  /** Waits before the next try. Throws what another try would not mend, and the last failure of too many. */
  async pause(failure: unknown, signal: AbortSignal): Promise<void> {
    if (!(failure instanceof TransientFailure)) throw failure;
    this.#failures++;
    const { attempts, maxRetryAfterMs } = this.#limits;
    const { error, retryAfterMs = 0 } = failure;
    if (this.#failures >= attempts) throw gaveUp(error, `after ${attempts} tries`);
    if (retryAfterMs > maxRetryAfterMs) {
      throw gaveUp(error, `it asks for ${Math.ceil(retryAfterMs / 1000)} s of patience`);
    }
    await this.#clock.sleep(Math.max(retryAfterMs, this.#delayMs()), signal);
  }

  /** Spread over half its length, so that parallel tries do not return together. */
  #delayMs(): number {
    const { firstDelayMs, maxDelayMs } = this.#limits;
    const delayMs = Math.min(maxDelayMs, firstDelayMs * 2 ** (this.#failures - 1));
    const share = (this.#random.bytes(1)[0] ?? 0) / 255;
    return delayMs * (0.5 + share / 2);
  }
}

function gaveUp(error: TriremeError, why: string): TriremeError {
  const remedy = error.remedy ?? 'What was loaded is kept; run the same command again later';
  return new TriremeError(error.code, `${error.message} (${why})`, { remedy, cause: error.cause });
}
