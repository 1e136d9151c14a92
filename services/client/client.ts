/** The front door from outside: what a program that talks to Trireme calls. Decides nothing. */
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
import { OperationsService, type StatusResponse } from '#proto/operations.ts';

/** For the calls that answer at once. */
const answerTimeoutMs = 10_000;
/** For long texts in long queues. */
const embedTimeoutMs = 300_000;

/** Errors of every method: what the router raised, UNAVAILABLE without a connection, CANCELLED after an abort. */
export class TriremeClient {
  readonly #rpc: RpcClient;

  /** address: host:port of a router. */
  constructor(address: string) {
    this.#rpc = createRpcClient(address);
  }

  /** Messages as they come; leaving the loop early cancels the request. */
  generate(request: GenerateRequest, signal?: AbortSignal): AsyncIterable<GenerateResponse> {
    return this.#rpc.serverStream(InferenceService.generate, request, signal ? { signal } : {});
  }

  /** `timeoutMs` bounds the whole answer. */
  embed(request: EmbedRequest, timeoutMs = embedTimeoutMs): Promise<EmbedResponse> {
    return this.#rpc.unary(InferenceService.embed, request, { timeoutMs });
  }

  cancel(requestId: string): Promise<CancelResponse> {
    return this.#rpc.unary(InferenceService.cancel, { requestId }, { timeoutMs: answerTimeoutMs });
  }

  async listModels(): Promise<readonly Model[]> {
    return (await this.#rpc.unary(InferenceService.listModels, {}, { timeoutMs: answerTimeoutMs })).models;
  }

  status(): Promise<StatusResponse> {
    return this.#rpc.unary(OperationsService.status, {}, { timeoutMs: answerTimeoutMs });
  }

  close(): void {
    this.#rpc.close();
  }
}
