/** How much may go on at once, and what happens to the rest when one thing fails. */
import { assert } from '#platform/assert.ts';

/** A fixed number of places; who finds none waits for his turn. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    assert(count > 0, 'no slots');
    this.#free = count;
  }

  /** Runs the task when a place is free, unless the signal has aborted by then. */
  async run<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      signal.throwIfAborted();
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** Runs all tasks; the first failure aborts the signal of the others, and is thrown when all have ended. */
export async function allTogether<T>(
  items: Iterable<T>,
  signal: AbortSignal,
  task: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const failures: unknown[] = [];
  const fail = (reason: unknown): void => {
    failures.push(reason);
    controller.abort(reason);
  };
  const onAbort = (): void => fail(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await Promise.all(Array.from(items, (item) => task(item, controller.signal).catch(fail)));
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  if (failures.length > 0) throw failures[0];
}
