/** One rank's thread as its team sees it: what it has said, whether it still runs, and the switch that ends its runs. */
import type { Worker } from 'node:worker_threads';
import { TriremeError } from '#platform/errors.ts';
import { RunSwitch } from '../runtime/run-switch.ts';
import type { RankMessage, RankThreadData } from './rank-messages.ts';
import { keepRankThread, takeRankThread } from './rank-threads.ts';

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
  /** The thread is gone, or free for another rank. Never rejects. */
  readonly ended: Promise<void>;
  /** Why the rank failed, in its own words. */
  failure: TriremeError | undefined;
  readonly #loaded = Promise.withResolvers<void>();
  readonly #warm = Promise.withResolvers<void>();
  readonly #switch: RunSwitch;
  readonly #events: RankEvents;
  readonly #ended = Promise.withResolvers<void>();
  readonly #thread: Worker;
  #isGone = false;

  constructor(data: Omit<RankThreadData, 'runSwitch'>, events: RankEvents) {
    this.rank = data.rank;
    this.loaded = this.#loaded.promise;
    this.warm = this.#warm.promise;
    this.ended = this.#ended.promise;
    this.#events = events;
    this.#switch = new RunSwitch(data.runtimeLibrary);
    this.#thread = takeRankThread();
    this.#thread.on('message', this.#onMessage);
    this.#thread.on('error', this.#onError);
    this.#thread.on('exit', this.#onExit);
    const start: RankThreadData = { ...data, runSwitch: this.#switch.address };
    this.#thread.postMessage(start);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** Ends the run under way; the thread then ends by itself. */
  terminateRuns(): void {
    if (!this.#isGone) this.#switch.terminate();
  }

  readonly #onMessage = (message: RankMessage): void => {
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
        this.#leave();
        keepRankThread(this.#thread);
        return this.#events.onFinished(this.rank);
      case 'failed': {
        const { code, message: text, remedy } = message;
        return this.#fail(new TriremeError(code, text, remedy === undefined ? {} : { remedy }));
      }
    }
  };

  readonly #onError = (cause: Error): void => {
    this.#fail(new TriremeError('RANK_FAILED', cause.message, { cause }));
  };

  readonly #onExit = (status: number): void => {
    this.#leave();
    this.#fail(new TriremeError('RANK_FAILED', `the thread of rank ${this.rank} exited with status ${status}`));
  };

  /** The thread is no longer this rank's. */
  #leave(): void {
    this.#thread.off('message', this.#onMessage);
    this.#thread.off('error', this.#onError);
    this.#thread.off('exit', this.#onExit);
    this.#isGone = true;
    this.#switch.release();
    this.#ended.resolve();
  }

  /** The first reason is the real one: what follows is the thread's end. */
  #fail(error: TriremeError): void {
    this.failure ??= error;
    this.#events.onFailure(this.rank, this.failure);
  }
}
