/** The gRPC server: binds, serves, reports health and reflection, drains, stops. */
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedHandleCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';
import { AssertionError } from './assert.ts';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import { listenError, parseListenAddress } from './listen.ts';
import type { Logger } from './log.ts';
import { BidiServerCall, type ServerCall, StreamServerCall, UnaryServerCall } from './rpc-call.ts';
import { addReflection } from './rpc-reflection.ts';
import type { RpcMethod, RpcService } from './rpc-service.ts';

/** How long stop() waits for last bytes to leave, and for streams of health watchers, before it cuts connections. */
const closeGraceMs = 200;

export interface RpcServerOptions {
  /** host:port; port 0 takes any free one. */
  readonly listen: string;
  readonly services: readonly RpcService[];
  readonly log: Logger;
  /** A FileDescriptorSet of the services; reflection is served when it is given. */
  readonly descriptorSet?: Uint8Array;
  /** What the health service says at first; default true. */
  readonly serving?: boolean;
  /** Longest message in either direction; a longer one ends its call with MESSAGE_TOO_LARGE. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** Calls that run at once; one more is refused with NO_ROOM. Default 10,000. */
  readonly maxCalls?: number;
  /** Messages of one stream that may wait for its client; one more ends it with SLOW_CONSUMER. Default 4,096. */
  readonly maxPendingMessages?: number;
  /** A connection is pinged this often and cut when the answer takes as long again. Default 5,000. */
  readonly keepaliveMs?: number;
  readonly clock?: Clock;
}

export interface RpcServer {
  /** host:port with the port that was really bound. */
  readonly address: string;
  readonly activeCalls: number;
  /** What the health service says, of one service or of all. */
  setServing(serving: boolean, service?: string): void;
  /** Health says NOT_SERVING, new calls are refused with UNAVAILABLE; resolves when the running ones are done, at the latest after graceMs. */
  drain(graceMs: number): Promise<void>;
  /** Ends what still runs with UNAVAILABLE and closes. Idempotent. */
  stop(): Promise<void>;
}

/** Errors: PORT_IN_USE, INVALID_CONFIG for an address that cannot be bound. */
export async function startRpcServer(options: RpcServerOptions): Promise<RpcServer> {
  const server = new GrpcServer(options);
  await server.bind();
  return server;
}

class GrpcServer implements RpcServer {
  #address = '';
  #draining = false;
  #stopped: Promise<void> | undefined;
  #onIdle: (() => void) | undefined;
  readonly #calls = new Set<ServerCall>();
  readonly #clock: Clock;
  readonly #grpc: Server;
  readonly #health: HealthImplementation;
  readonly #options: RpcServerOptions;

  constructor(options: RpcServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { maxMessageBytes = 16 << 20, keepaliveMs = 5000, services, descriptorSet } = options;
    this.#grpc = new Server({
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_send_message_length': maxMessageBytes,
      'grpc.keepalive_time_ms': keepaliveMs,
      'grpc.keepalive_timeout_ms': keepaliveMs,
    });
    for (const service of services) this.#grpc.addService(service.definition, this.#handlersOf(service));
    this.#health = new HealthImplementation();
    this.#health.addToServer(this.#grpc);
    this.setServing(options.serving ?? true);
    if (descriptorSet) addReflection(this.#grpc, descriptorSet, services);
  }

  get address(): string {
    return this.#address;
  }

  get activeCalls(): number {
    return this.#calls.size;
  }

  async bind(): Promise<void> {
    const { host } = parseListenAddress(this.#options.listen);
    try {
      const port = await new Promise<number>((resolve, reject) => {
        this.#grpc.bindAsync(this.#options.listen, ServerCredentials.createInsecure(), (error, bound) => {
          if (error) reject(error);
          else resolve(bound);
        });
      });
      this.#address = `${host}:${port}`;
    } catch (error) {
      this.#grpc.forceShutdown();
      throw listenError(this.#options.listen, error);
    }
  }

  setServing(serving: boolean, service?: string): void {
    const names = service === undefined ? ['', ...this.#options.services.map(({ name }) => name)] : [service];
    for (const name of names) this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
  }

  async drain(graceMs: number): Promise<void> {
    this.setServing(false);
    this.#draining = true;
    if (this.#calls.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(graceMs, resolve);
      this.#onIdle = () => {
        cancel();
        resolve();
      };
    });
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.setServing(false);
    this.#draining = true;
    for (const call of [...this.#calls]) call.abort(new TriremeError('UNAVAILABLE', 'the server has stopped'));
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(closeGraceMs, resolve);
      this.#grpc.tryShutdown(() => {
        cancel();
        resolve();
      });
    });
    this.#grpc.forceShutdown();
  }

  #handlersOf(service: RpcService): UntypedServiceImplementation {
    return Object.fromEntries(
      Object.entries(service.definition).map(([name, method]) => [name, this.#handlerOf(service, name, method)]),
    );
  }

  #handlerOf({ handlers }: RpcService, name: string, method: RpcMethod<unknown, unknown>): UntypedHandleCall {
    const handler = handlers[name];
    if (!handler) throw new TypeError(`no handler for ${method.path}`);
    const { maxPendingMessages = 4096 } = this.#options;
    if (method.requestStream) {
      return (stream: ServerDuplexStream<unknown, unknown>) => {
        const call = new BidiServerCall(stream, maxPendingMessages);
        this.#run(call, method.path, () => handler(call));
      };
    }
    if (method.responseStream) {
      return (stream: ServerWritableStream<unknown, unknown>) => {
        const call = new StreamServerCall(stream, maxPendingMessages);
        this.#run(call, method.path, () => handler(stream.request, call));
      };
    }
    return (surface: ServerUnaryCall<unknown, unknown>, reply: sendUnaryData<unknown>) => {
      const call = new UnaryServerCall(surface, reply);
      this.#run(call, method.path, () => handler(surface.request, call));
    };
  }

  async #run(call: ServerCall, path: string, handle: () => Promise<unknown>): Promise<void> {
    const refusal = this.#refusal();
    if (refusal) return call.finish({ error: refusal });
    this.#calls.add(call);
    try {
      call.finish({ response: await handle() });
    } catch (error) {
      // After the end a handler fails because its signal did: nobody is left to be told.
      if (!call.over && !(error instanceof TriremeError)) this.#options.log.error({ err: error, path }, 'call failed');
      call.finish({ error });
      if (error instanceof AssertionError) throw error;
    } finally {
      this.#calls.delete(call);
      if (this.#calls.size === 0) this.#onIdle?.();
    }
  }

  #refusal(): TriremeError | undefined {
    const { maxCalls = 10_000 } = this.#options;
    if (this.#draining)
      return new TriremeError('UNAVAILABLE', 'this server is shutting down', { remedy: 'try another' });
    if (this.#calls.size < maxCalls) return undefined;
    return new TriremeError('NO_ROOM', `${maxCalls} calls run already`, { remedy: 'try again later' });
  }
}
