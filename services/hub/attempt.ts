/** One try of a request: it ends when the caller gives up, or when nothing has come for too long. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { TransientFailure } from './retries.ts';

export class Attempt implements Disposable {
  readonly #controller = new AbortController();
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #caller: AbortSignal;
  #cancelTimer: () => void = () => {};

  constructor(clock: Clock, stallMs: number, caller: AbortSignal) {
    this.#clock = clock;
    this.#stallMs = stallMs;
    this.#caller = caller;
    caller.addEventListener('abort', this.#onCallerAbort, { once: true });
    if (caller.aborted) this.#onCallerAbort();
    this.onBytes();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Something came; the wait begins anew. */
  onBytes(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.after(this.#stallMs, () => {
      const message = `nothing came for ${this.#stallMs / 1000} s`;
      this.#controller.abort(new TransientFailure(new TriremeError('HUB_UNAVAILABLE', message)));
    });
  }

  /** Ends what is still under way. */
  [Symbol.dispose](): void {
    this.#cancelTimer();
    this.#caller.removeEventListener('abort', this.#onCallerAbort);
    this.#controller.abort();
  }

  /** Why a request of this attempt failed: our own reason to end it, else what the network says. */
  reasonOf(cause: unknown, doing: string): unknown {
    if (this.signal.aborted) return this.signal.reason;
    const message = `cannot ${doing}: ${networkMessage(cause)}`;
    return new TransientFailure(new TriremeError('HUB_UNAVAILABLE', message, { cause }));
  }

  readonly #onCallerAbort = (): void => this.#controller.abort(this.#caller.reason);
}

/** fetch says "fetch failed" or "terminated"; the reason is in its cause, at times in the cause of that. */
function networkMessage(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if (cause.cause instanceof Error) return networkMessage(cause.cause);
  return 'code' in cause && typeof cause.code === 'string' ? `${cause.code}, ${cause.message}` : cause.message;
}
