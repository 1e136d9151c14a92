/**
 * Where edges hand in requests, whatever protocol they speak. Holds the streams of clients, feeds the core with events and
 * performs its actions.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import {
  GenerateRequest,
  type GenerateResponse,
  Pooling,
  type ReceivedChoice,
  SamplingParams,
} from '#proto/inference.ts';
import type { AttachRequest, RouterMessage } from '#proto/worker.ts';
import type { RouterConfig } from './config.ts';
import type { RouterAction, RouterEvent, SessionId } from './events.ts';
import type { ModelCatalog } from './model-catalog.ts';
import { checkRequest, prepare } from './prepare.ts';
import type { Router } from './router.ts';

/** The shell's way to the leaders. */
export interface LeaderLinks {
  send(session: SessionId, message: NonNullable<RouterMessage['message']>): void;
  attach(session: SessionId, request: AttachRequest): void;
  detach(session: SessionId): void;
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

/** What is beside the request itself. */
export interface GenerateOptions {
  /** Set: nothing is generated, the last message carries the prompt's embedding. */
  readonly pooling?: Pooling;
  /** What the client has already, and from what kind of group. */
  readonly received?: readonly ReceivedChoice[];
  readonly streamDigest?: string;
}

interface Stream {
  readonly request: GenerateRequest;
  /** Once it is drawn. */
  seed: string | undefined;
  deliver(response: GenerateResponse): void;
  settle(error: TriremeError | undefined): void;
}

export class FrontDoor {
  #isStepping = false;
  #isClosed = false;
  #onEmpty = (): void => {};
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

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** No new stream is taken until open(); those in flight go on. */
  close(): void {
    this.#isClosed = true;
  }

  open(): void {
    this.#isClosed = false;
  }

  /** Ends every stream with this error. */
  abandonAll(error: TriremeError): void {
    for (const [id, stream] of [...this.#streams]) this.#abandonStream(id, stream, error);
  }

  /** Resolves when no stream is in flight. To be called while it is closed; one waits at a time. */
  async emptied(): Promise<void> {
    if (this.#streams.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
  }

  /**
   * Resolves when every choice has finished; deliver gets one message a step and must not throw. An abort of the signal
   * ends the request. The same request under the id of one in flight takes its place. Errors: INVALID_ARGUMENT,
   * UNKNOWN_MODEL, PROMPT_TOO_LONG, NO_ROOM, UNAVAILABLE (also when closed), MOVES_EXHAUSTED, POISON_REQUEST, CANCELLED, the signal's reason,
   * and what reading the model's tokenizer may raise.
   */
  async generate(
    given: GenerateRequest,
    deliver: (response: GenerateResponse) => void,
    signal: AbortSignal,
    { pooling = Pooling.POOLING_UNSPECIFIED, received = [], streamDigest = '' }: GenerateOptions = {},
  ): Promise<void> {
    const { catalog, config, random } = this.#options;
    if (this.#isClosed) throw leaving();
    checkRequest(given, config.maxChoices);
    const record = catalog.resolve(given.model);
    const id = given.requestId === '' ? random.id() : given.requestId;
    const request = withSeed(given, this.#takeOver(id, given)?.seed);
    const ended = Promise.withResolvers<void>();
    const stream: Stream = {
      request,
      seed: request.sampling?.seed,
      deliver,
      settle: (error) => (error ? ended.reject(error) : ended.resolve()),
    };
    const onAbort = (): void => this.#abandonStream(id, stream, TriremeError.from(signal.reason));
    this.#streams.set(id, stream);
    signal.addEventListener('abort', onAbort);
    try {
      if (signal.aborted) throw TriremeError.from(signal.reason);
      const files = await Promise.race([catalog.load(record), ended.promise]);
      // It may have been cancelled in the very moment in which the files came.
      if (files && this.#streams.get(id) === stream) {
        const routed = prepare(request, { id, record, files, random, pooling, received, streamDigest });
        stream.seed = routed.sampling.seed;
        this.step({ kind: 'request', request: routed });
      }
      await ended.promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
      if (this.#streams.get(id) === stream) this.#streams.delete(id);
      if (this.#streams.size === 0) this.#onEmpty();
    }
  }

  /** False: no such request is in flight. */
  cancel(requestId: string): boolean {
    const stream = this.#streams.get(requestId);
    if (stream)
      this.#abandonStream(requestId, stream, new TriremeError('CANCELLED', 'the request was cancelled by its id'));
    return stream !== undefined;
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
    const { links } = this.#options;
    switch (action.kind) {
      case 'deliver':
        this.#streams.get(action.requestId)?.deliver(action.response);
        return;
      case 'end':
        return this.#settle(action.requestId, action.error);
      case 'send':
        return links.send(action.session, action.message);
      case 'attach':
        return links.attach(action.session, action.request);
      case 'detach':
        return links.detach(action.session);
      case 'close-session':
        return links.close(action.session, action.error);
    }
  }

  /** A client that lost its connection comes again: its earlier call ends. Undefined: there was none. */
  #takeOver(id: string, request: GenerateRequest): Stream | undefined {
    const earlier = this.#streams.get(id);
    if (!earlier) return undefined;
    if (!isSame(earlier.request, request)) {
      throw new TriremeError(
        'INVALID_ARGUMENT',
        `request_id ${JSON.stringify(id)} is that of another request in flight`,
        {
          remedy: 'give every request an id of its own, or leave request_id empty',
        },
      );
    }
    this.#abandonStream(id, earlier, new TriremeError('CANCELLED', 'the request came again, and goes on there'));
    return earlier;
  }

  /** A request that still waits for its tokenizer is unknown to the core. */
  #abandonStream(requestId: string, stream: Stream, error: TriremeError): void {
    if (this.#streams.get(requestId) !== stream) return;
    this.step({ kind: 'abandon', requestId, error });
    this.#settle(requestId, error);
  }

  #settle(requestId: string, error: TriremeError | undefined): void {
    const stream = this.#streams.get(requestId);
    this.#streams.delete(requestId);
    stream?.settle(error);
  }
}

/** Nothing of the request is lost: another router goes on with what its client has. */
export function leaving(): TriremeError {
  return new TriremeError('UNAVAILABLE', 'this router is draining', {
    remedy: 'send the request, or what it has brought with Resume, to another router',
  });
}

/** The same tokens come again only from the same seed. */
function withSeed(request: GenerateRequest, seed: string | undefined): GenerateRequest {
  if (seed === undefined || request.sampling?.seed !== undefined) return request;
  return { ...request, sampling: { ...SamplingParams.create(), ...request.sampling, seed } };
}

/** Apart from a seed that the client may not have known at first. */
function isSame(a: GenerateRequest, b: GenerateRequest): boolean {
  const [seedA, seedB] = [a.sampling?.seed, b.sampling?.seed];
  if (seedA !== undefined && seedB !== undefined && seedA !== seedB) return false;
  return Buffer.compare(encodeUnseeded(a), encodeUnseeded(b)) === 0;
}

function encodeUnseeded(request: GenerateRequest): Uint8Array {
  const { seed: _, ...sampling } = request.sampling ?? SamplingParams.create();
  return GenerateRequest.encode({ ...request, sampling: { ...sampling, seed: undefined } }).finish();
}
