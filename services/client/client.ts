/** The front door from outside: what a program that talks to Trireme calls. Its streams outlive routers. */
import { type Clock, systemClock } from '#platform/clock.ts';
import { type RandomSource, systemRandom } from '#platform/random.ts';
import { createRpcClient, type RpcClient } from '#platform/rpc.ts';
import {
  type CancelResponse,
  type EmbedRequest,
  type EmbedResponse,
  type GenerateRequest,
  type GenerateResponse,
  InferenceService,
  type Model,
} from '#proto/inference.ts';
import { type DrainStarted, type DrainTarget, OperationsService, type StatusResponse } from '#proto/operations.ts';
import { type RouterCalls, resumedStream } from './resumed-stream.ts';

/** For the calls that answer at once. */
const answerTimeoutMs = 10_000;
/** For long texts in long queues. */
const embedTimeoutMs = 300_000;
const defaultResumeLimitMs = 120_000;

export interface GenerateOptions {
  readonly signal?: AbortSignal;
  /** How long a broken stream may stand still before its error counts. Default 120,000. */
  readonly resumeLimitMs?: number;
  /** The stream goes on at another router, or at the same one anew. */
  onResume?(error: Error): void;
}

export interface ClientOptions {
  readonly clock?: Clock;
  readonly random?: RandomSource;
}

/** Errors of every method: what the router raised, UNAVAILABLE without a connection, CANCELLED after an abort. */
export class TriremeClient {
  readonly #routers: readonly RpcClient[];
  readonly #clock: Clock;
  readonly #random: RandomSource;

  /** host:port of routers. Everything is asked of the first; a stream that it cannot go on with, of the others. */
  constructor(
    addresses: string | readonly string[],
    { clock = systemClock, random = systemRandom }: ClientOptions = {},
  ) {
    this.#routers = [addresses].flat().map((address) => createRpcClient(address));
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Messages as they come, each position once and in order, whatever happens to routers and connections. Leaving the loop
   * early cancels the request.
   */
  generate(
    request: GenerateRequest,
    { resumeLimitMs, ...options }: GenerateOptions = {},
  ): AsyncIterable<GenerateResponse> {
    const requestId = request.requestId === '' ? this.#random.id() : request.requestId;
    return resumedStream(
      { ...request, requestId },
      {
        ...options,
        routers: this.#routers.map(callsOf),
        clock: this.#clock,
        resumeLimitMs: resumeLimitMs ?? defaultResumeLimitMs,
      },
    );
  }

  /** `timeoutMs` bounds the whole answer. */
  embed(request: EmbedRequest, timeoutMs = embedTimeoutMs): Promise<EmbedResponse> {
    return this.#first.unary(InferenceService.embed, request, { timeoutMs });
  }

  cancel(requestId: string): Promise<CancelResponse> {
    return this.#first.unary(InferenceService.cancel, { requestId }, { timeoutMs: answerTimeoutMs });
  }

  async listModels(): Promise<readonly Model[]> {
    return (await this.#first.unary(InferenceService.listModels, {}, { timeoutMs: answerTimeoutMs })).models;
  }

  /** Of the first router. Resolves when the drain has begun; status() shows how it goes. */
  drain(target: DrainTarget): Promise<DrainStarted> {
    return this.#first.unary(OperationsService.drain, target, { timeoutMs: answerTimeoutMs });
  }

  status(): Promise<StatusResponse> {
    return this.#first.unary(OperationsService.status, {}, { timeoutMs: answerTimeoutMs });
  }

  close(): void {
    for (const router of this.#routers) router.close();
  }

  get #first(): RpcClient {
    return this.#routers[0]!;
  }
}

function callsOf(rpc: RpcClient): RouterCalls {
  return {
    generate: (request, signal) => rpc.serverStream(InferenceService.generate, request, signal ? { signal } : {}),
    resume: (request, signal) => rpc.serverStream(InferenceService.resume, request, signal ? { signal } : {}),
  };
}
