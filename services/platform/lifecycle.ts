/** The life of a process: start, ready, drain, stop. Resources end in reverse order; the exit status says why. */
import { type Clock, systemClock } from './clock.ts';
import { errorCodes, TriremeError } from './errors.ts';
import type { Logger } from './log.ts';

export type LifecycleState = 'starting' | 'ready' | 'draining' | 'stopped';

/** What Lifecycle needs of `process`. */
export interface ProcessLike {
  on(event: string, listener: (value: unknown) => void): unknown;
  exit(status: number): void;
}

export interface Resource {
  readonly name: string;
  /** Takes no new work and resolves when the old is done. */
  drain?(): Promise<void>;
  stop(): Promise<void>;
}

export interface LifecycleOptions {
  readonly log: Logger;
  readonly process: ProcessLike;
  /** Drain and stop together; afterwards the process exits with 75. */
  readonly deadlineMs?: number;
  readonly clock?: Clock;
}

export class Lifecycle {
  #state: LifecycleState = 'starting';
  #ending: Promise<void> | undefined;
  readonly #resources: Resource[] = [];
  readonly #options: LifecycleOptions;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    for (const signal of ['SIGTERM', 'SIGINT']) options.process.on(signal, () => this.#onSignal(signal));
    for (const event of ['uncaughtException', 'unhandledRejection']) {
      options.process.on(event, (error) => {
        options.log.fatal({ err: error }, event);
        options.process.exit(errorCodes.INTERNAL.exit);
      });
    }
  }

  get state(): LifecycleState {
    return this.#state;
  }

  /** Stopped in reverse order of adding; one that is added while others are being stopped is stopped too. */
  add(resource: Resource): void {
    this.#resources.push(resource);
  }

  becomeReady(): void {
    if (this.#state === 'starting') this.#state = 'ready';
  }

  /**
   * Drains, stops and exits: with exitStatus, with 75 past the deadline, with the error's status when stopping fails.
   * The first call decides the status; later ones wait for its end.
   */
  shutDown(exitStatus = 0): Promise<void> {
    this.#ending ??= this.#shutDown(exitStatus);
    return this.#ending;
  }

  async #shutDown(exitStatus: number): Promise<void> {
    this.#state = 'draining';
    const { log, process, deadlineMs = 30_000, clock = systemClock } = this.#options;
    const cancel = clock.after(deadlineMs, () => {
      log.error({ deadlineMs }, 'did not stop in time');
      process.exit(errorCodes.DEADLINE_EXCEEDED.exit);
    });
    const failures = [...(await this.#drainAll()), ...(await this.#stopAll())];
    cancel();
    this.#state = 'stopped';
    process.exit(failures[0] ? errorCodes[failures[0].code].exit : exitStatus);
  }

  async #drainAll(): Promise<TriremeError[]> {
    const failures: TriremeError[] = [];
    for (const resource of this.#resources.toReversed()) failures.push(...(await this.#attempt('drain', resource)));
    return failures;
  }

  async #stopAll(): Promise<TriremeError[]> {
    const failures: TriremeError[] = [];
    for (let resource = this.#resources.pop(); resource; resource = this.#resources.pop()) {
      failures.push(...(await this.#attempt('stop', resource)));
    }
    return failures;
  }

  /** A resource that fails to end does not keep the others from ending. */
  async #attempt(step: 'drain' | 'stop', resource: Resource): Promise<TriremeError[]> {
    try {
      await resource[step]?.();
      return [];
    } catch (error) {
      this.#options.log.error({ err: error, resource: resource.name }, `could not ${step}`);
      return [TriremeError.from(error)];
    }
  }

  #onSignal(signal: string): void {
    if (this.#ending) return this.#options.process.exit(errorCodes.CANCELLED.exit);
    this.#options.log.info({ signal }, 'stopping');
    void this.shutDown();
  }
}
