/** A router over the embedded store and bus, with leaders that have no model, and clients over real gRPC. */
import path from 'node:path';
import { expect } from 'vitest';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import type { Metrics } from '#platform/metrics.ts';
import { systemRandom } from '#platform/random.ts';
import { createRpcClient, type RpcClient, type StreamOptions } from '#platform/rpc.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { type Chat, GenerateRequest, type GenerateResponse, InferenceService } from '#proto/inference.ts';
import { modelKey } from '#proto/keys.ts';
import { OperationsService, type StatusResponse } from '#proto/operations.ts';
import { ModelRecord } from '#proto/records.ts';
import { defaultConfig, type RouterConfig } from '../../services/router/config.ts';
import { type RunningRouter, startRouter } from '../../services/router/service.ts';
import { eventually } from '../contract/eventually.ts';
import { FakeLeader, type FakeLeaderOptions } from './fake-leader.ts';

export const demoPackage = path.join(import.meta.dirname, '../../models/demo');

type DeepPartial<T> = T extends readonly (infer Item)[]
  ? DeepPartial<Item>[]
  : T extends object
    ? { [Key in keyof T]?: DeepPartial<T[Key]> }
    : T;

/** Fields left out have proto3's defaults. */
export type RequestParts = Omit<DeepPartial<GenerateRequest>, 'prompt'> & {
  readonly prompt?:
    | { readonly $case: 'text'; readonly value: string }
    | { readonly $case: 'tokenIds'; readonly value: { readonly ids: readonly number[] } }
    | { readonly $case: 'chat'; readonly value: DeepPartial<Chat> };
};

export function requestOf(parts: RequestParts): GenerateRequest {
  return GenerateRequest.fromPartial(parts as Parameters<typeof GenerateRequest.fromPartial>[0]);
}

/** A finished stream: its messages, and each choice's ids and text put together. */
export interface Answer {
  readonly messages: readonly GenerateResponse[];
  readonly choices: readonly { ids: number[]; text: string; finish: number | undefined }[];
}

export class RouterWorld {
  readonly store = new EmbeddedStore();
  readonly bus = new EmbeddedBus();
  readonly log = createLogger('silent');
  readonly #closing: (() => Promise<void> | void)[] = [];
  #router: RunningRouter | undefined;
  #client: RpcClient | undefined;

  static async start(
    config: Partial<RouterConfig> = {},
    model: Partial<ModelRecord> | null = {},
    metrics?: Metrics,
  ): Promise<RouterWorld> {
    const world = new RouterWorld();
    if (model) await world.serveModel('demo', model);
    const { store, bus, log } = world;
    const shared = { store, bus, log, clock: systemClock, random: systemRandom, ...(metrics ? { metrics } : {}) };
    world.#router = await startRouter({ ...shared, config: { ...defaultConfig, listen: '127.0.0.1:0', ...config } });
    world.#closing.push(() => world.router.stop());
    world.#client = world.newClient();
    return world;
  }

  get router(): RunningRouter {
    if (!this.#router) throw new Error('the router has not started');
    return this.#router;
  }

  get client(): RpcClient {
    if (!this.#client) throw new Error('the router has not started');
    return this.#client;
  }

  newClient(): RpcClient {
    const client = createRpcClient(this.router.address);
    this.#closing.push(() => client.close());
    return client;
  }

  async serveModel(name: string, record: Partial<ModelRecord> = {}): Promise<void> {
    const facts = { name, packagePath: demoPackage, packageDigest: '0', family: 'qwen3_moe', contextLength: 2048 };
    await this.store.put(modelKey(name), ModelRecord.encode(ModelRecord.fromPartial({ ...facts, ...record })).finish());
  }

  /** A leader whose group is announced, unless told otherwise. */
  async lead(options: Partial<FakeLeaderOptions> & { announced?: boolean } = {}): Promise<FakeLeader> {
    const { announced = true, ...rest } = options;
    const leader = await FakeLeader.start({ bus: this.bus, log: this.log, ...rest });
    this.#closing.push(() => leader.kill());
    if (announced) await leader.announce(this.store);
    return leader;
  }

  stream(request: RequestParts, options: StreamOptions = {}, client = this.client): AsyncIterable<GenerateResponse> {
    return client.serverStream(InferenceService.generate, requestOf(request), options);
  }

  async generate(request: RequestParts, options: StreamOptions = {}, client = this.client): Promise<Answer> {
    const messages: GenerateResponse[] = [];
    for await (const message of this.stream(request, options, client)) messages.push(message);
    return gather(messages);
  }

  /** Resolves when the router has a session with so many leaders. */
  async connected(count: number): Promise<void> {
    await eventually(async () => {
      const { groups } = await this.status();
      expect(groups.filter(({ session }) => session)).toHaveLength(count);
    });
  }

  status(): Promise<StatusResponse> {
    return this.client.unary(OperationsService.status, {}, { timeoutMs: 5000 });
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    await this.bus.close();
    await this.store.close();
  }
}

/** Errors: an Error when positions do not follow on each other, or a choice ends twice. */
export function gather(messages: readonly GenerateResponse[]): Answer {
  const choices: { ids: number[]; text: string; finish: number | undefined }[] = [];
  for (const { index, firstPosition, tokenIds, text, finishReason } of messages.flatMap((message) => message.choices)) {
    choices[index] ??= { ids: [], text: '', finish: undefined };
    const choice = choices[index];
    if (firstPosition !== choice.ids.length) throw new Error(`position ${firstPosition} after ${choice.ids.length}`);
    if (choice.finish !== undefined) throw new Error(`choice ${index} goes on after its end`);
    choice.ids.push(...tokenIds);
    choice.text += text;
    choice.finish = finishReason;
  }
  return { messages, choices };
}
