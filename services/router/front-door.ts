/**
 * Where edges hand in requests, whatever protocol they speak. Holds the streams of clients, feeds the core with events and
 * performs its actions.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import { type GenerateRequest, type GenerateResponse, Pooling } from '#proto/inference.ts';
import type { RouterMessage } from '#proto/worker.ts';
import type { RouterConfig } from './config.ts';
import type { RouterAction, RouterEvent, SessionId } from './events.ts';
import type { ModelCatalog } from './model-catalog.ts';
import { checkRequest, prepare } from './prepare.ts';
import type { Router } from './router.ts';

/** The shell's way to the leaders. */
export interface LeaderLinks {
  send(session: SessionId, message: NonNullable<RouterMessage['message']>): void;
  close(session: SessionId, error: TriremeError): void;
}

export interface FrontDoorOptions {
  readonly router: Router;
  readonly catalog: ModelCatalog;
  readonly links: LeaderLinks;
  readonly config: Pick<RouterConfig, 'maxChoices'>;
  readonly clock: Clock;
  readonly random: RandomSource;
}

interface Stream {
  deliver(response: GenerateResponse): void;
  settle(error: TriremeError | undefined): void;
}

export class FrontDoor {
  #isStepping = false;
  readonly #events: RouterEvent[] = [];
  /** By request id, from the first check to the end. */
  readonly #streams = new Map<string, Stream>();
  readonly #options: FrontDoorOptions;

  constructor(options: FrontDoorOptions) {
    this.#options = options;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /**
   * Resolves when every choice has finished; deliver gets one message a step and must not throw. An abort of the signal
   * ends the request. With pooling nothing is generated: the last message carries the prompt's embedding. Errors: INVALID_ARGUMENT, UNKNOWN_MODEL, PROMPT_TOO_LONG, NO_ROOM, UNAVAILABLE, CANCELLED, the
   * signal's reason, and what reading the model's tokenizer may raise.
   */
  async generate(
    request: GenerateRequest,
    deliver: (response: GenerateResponse) => void,
    signal: AbortSignal,
    pooling: Pooling = Pooling.POOLING_UNSPECIFIED,
  ): Promise<void> {
    const { catalog, config, random } = this.#options;
    checkRequest(request, config.maxChoices);
    const record = catalog.resolve(request.model);
    const id = request.requestId === '' ? random.id() : request.requestId;
    if (this.#streams.has(id)) {
      throw new TriremeError('INVALID_ARGUMENT', `request_id ${JSON.stringify(id)} is in flight already`, {
        remedy: 'wait for it, cancel it, or leave request_id empty',
      });
    }
    const ended = Promise.withResolvers<void>();
    const stream: Stream = {
      deliver,
      settle: (error) => (error ? ended.reject(error) : ended.resolve()),
    };
    const onAbort = (): void => void this.#abandon(id, TriremeError.from(signal.reason));
    this.#streams.set(id, stream);
    signal.addEventListener('abort', onAbort);
    try {
      if (signal.aborted) throw TriremeError.from(signal.reason);
      const files = await Promise.race([catalog.load(record), ended.promise]);
      // It may have been cancelled in the very moment in which the files came.
      if (files && this.#streams.get(id) === stream) {
        this.step({ kind: 'request', request: prepare(request, { id, record, files, random, pooling }) });
      }
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (this.#streams.get(id) === stream) this.#streams.delete(id);
    }
  }

  /** False: no such request is in flight. */
  cancel(requestId: string): boolean {
    return this.#abandon(requestId, new TriremeError('CANCELLED', 'the request was cancelled by its id'));
  }

  /** Actions may bring about events (a slow client, a broken session): these wait their turn. */
  step(event: RouterEvent): void {
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#events.shift(); next; next = this.#events.shift()) {
        for (const action of this.#options.router.step(next, this.#options.clock.now())) this.#perform(action);
      }
    } finally {
      this.#isStepping = false;
    }
  }

  #perform(action: RouterAction): void {
    switch (action.kind) {
      case 'deliver':
        this.#streams.get(action.requestId)?.deliver(action.response);
        return;
      case 'end':
        return this.#settle(action.requestId, action.error);
      case 'send':
        return this.#options.links.send(action.session, action.message);
      case 'close-session':
        return this.#options.links.close(action.session, action.error);
    }
  }

  /** A request that still waits for its tokenizer is unknown to the core. */
  #abandon(requestId: string, error: TriremeError): boolean {
    if (!this.#streams.has(requestId)) return false;
    this.step({ kind: 'abandon', requestId, error });
    this.#settle(requestId, error);
    return true;
  }

  #settle(requestId: string, error: TriremeError | undefined): void {
    const stream = this.#streams.get(requestId);
    this.#streams.delete(requestId);
    stream?.settle(error);
  }
}
