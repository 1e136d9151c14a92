/** One rank's thread as its team sees it: what it has said, whether it still runs, and the switch that ends its runs. */
import { Worker } from 'node:worker_threads';
import { TriremeError } from '#platform/errors.ts';
import { RunSwitch } from '../runtime/run-switch.ts';
import type { RankMessage, RankThreadData } from './rank-messages.ts';

export interface RankEvents {
  onLoading(rank: number, opened: number, total: number): void;
  onResult(value: unknown): void;
  /** The thread has ended or is about to, by no wish of its team's. May come more than once. */
  onFailure(rank: number, error: TriremeError): void;
  /** The rank has done all it was told to do. */
  onFinished(rank: number): void;
}

export class RankHandle {
  readonly rank: number;
  /** Every session is open. Pending for ever when the thread fails before. */
  readonly loaded: Promise<void>;
  /** The first step has run. As above. */
  readonly warm: Promise<void>;
  /** The thread is gone. Never rejects. */
  readonly ended: Promise<void>;
  /** Why the rank failed, in its own words. */
  failure: TriremeError | undefined;
  readonly #loaded = Promise.withResolvers<void>();
  readonly #warm = Promise.withResolvers<void>();
  readonly #switch: RunSwitch;
  readonly #events: RankEvents;
  #isFinished = false;
  #isGone = false;

  constructor(data: Omit<RankThreadData, 'runSwitch'>, events: RankEvents) {
    this.rank = data.rank;
    this.loaded = this.#loaded.promise;
    this.warm = this.#warm.promise;
    this.#events = events;
    this.#switch = new RunSwitch(data.runtimeLibrary);
    const workerData: RankThreadData = { ...data, runSwitch: this.#switch.address };
    const worker = new Worker(new URL('./rank-thread.ts', import.meta.url), { workerData, name: `rank ${data.rank}` });
    worker.on('message', (message: RankMessage) => this.#onMessage(message));
    worker.on('error', (cause) => this.#fail(new TriremeError('RANK_FAILED', cause.message, { cause })));
    this.ended = new Promise((resolve) => {
      worker.on('exit', (status) => {
        if (!this.#isFinished) {
          this.#fail(new TriremeError('RANK_FAILED', `the thread of rank ${this.rank} exited with status ${status}`));
        }
        this.#isGone = true;
        this.#switch.release();
        resolve();
      });
    });
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Ends the run under way; the thread then ends by itself. */
  terminateRuns(): void {
    if (!this.#isGone) this.#switch.terminate();
  }

  #onMessage(message: RankMessage): void {
    switch (message.kind) {
      case 'loading':
        return this.#events.onLoading(this.rank, message.opened, message.total);
      case 'loaded':
        return this.#loaded.resolve();
      case 'warm':
        return this.#warm.resolve();
      case 'result':
        return this.#events.onResult(message.value);
      case 'finished':
        this.#isFinished = true;
        return this.#events.onFinished(this.rank);
      case 'failed': {
        const { code, message: text, remedy } = message;
        return this.#fail(new TriremeError(code, text, remedy === undefined ? {} : { remedy }));
      }
    }
  }

  /** The first reason is the real one: what follows is the thread's end. */
  #fail(error: TriremeError): void {
    this.failure ??= error;
    this.#events.onFailure(this.rank, this.failure);
  }
}
