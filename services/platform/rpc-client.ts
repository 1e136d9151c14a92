/** The gRPC client: one channel to one address, any method of any service over it. */
import {
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  logVerbosity,
  Metadata,
  type StatusObject,
  setLogVerbosity,
} from '@grpc/grpc-js';
import { systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import { type BidiHandlers, type BidiStream, ClientBidi } from './rpc-bidi.ts';
import type { RpcMethod } from './rpc-service.ts';
import { errorFromStatus } from './rpc-status.ts';

// grpc-js writes to the console what reaches us as errors anyway. GRPC_VERBOSITY brings it back for debugging.
if (process.env.GRPC_VERBOSITY === undefined) setLogVerbosity(logVerbosity.NONE);

export interface RpcClientOptions {
  /** Default 16 MiB; longer messages end their call with MESSAGE_TOO_LARGE. */
  readonly maxMessageBytes?: number;
  /** A connection with calls is pinged this often and cut when the answer takes as long again. Default 5,000. */
  readonly keepaliveMs?: number;
  /** Longest pause between attempts to connect again. Default 1,000. */
  readonly maxBackoffMs?: number;
  /** Messages of one bidi stream that may wait for the server; one more ends it with SLOW_CONSUMER. Default 4,096. */
  readonly maxPendingMessages?: number;
}

export interface StreamOptions {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface UnaryOptions extends StreamOptions {
  readonly timeoutMs: number;
}

export function createRpcClient(address: string, options: RpcClientOptions = {}): RpcClient {
  return new RpcClient(address, options);
}

/** What callers need of a client, so that they can be put on another transport. */
export type RpcConnection = Pick<RpcClient, 'unary' | 'serverStream' | 'bidi' | 'close'>;

/** Makes a client of the server at host:port; connects when it is first used. */
export type Dial = (address: string) => RpcConnection;

type AnyCall = { cancel(): void };

export class RpcClient {
  readonly address: string;
  #closed = false;
  readonly #calls = new Set<AnyCall>();
  readonly #client: Client;
  readonly #maxPendingMessages: number;

  constructor(address: string, options: RpcClientOptions) {
    const { maxMessageBytes = 16 << 20, keepaliveMs = 5000, maxBackoffMs = 1000, maxPendingMessages = 4096 } = options;
    this.address = address;
    this.#maxPendingMessages = maxPendingMessages;
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.max_receive_message_length': maxMessageBytes,
      'grpc.max_send_message_length': maxMessageBytes,
      'grpc.keepalive_time_ms': keepaliveMs,
      'grpc.keepalive_timeout_ms': keepaliveMs,
      'grpc.initial_reconnect_backoff_ms': Math.min(100, maxBackoffMs),
      'grpc.max_reconnect_backoff_ms': maxBackoffMs,
      // Channels to one address would otherwise share a connection, its back-off and its fate.
      'grpc.use_local_subchannel_pool': 1,
      // A retry would repeat a call that may have had effects, and keeps a copy of every message for it.
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // An http_proxy meant for the internet must not catch traffic between our own processes.
      'grpc.enable_http_proxy': 0,
    });
  }

  /** Errors: what the server sent, DEADLINE_EXCEEDED, UNAVAILABLE, CANCELLED or the signal's own TriremeError. */
  async unary<Request, Response>(
    method: RpcMethod<Request, Response> & { readonly requestStream: false; readonly responseStream: false },
    request: Request,
    options: UnaryOptions,
  ): Promise<Response> {
    this.#refuseIfOver(options.signal);
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        headersOf(options),
        callOptionsOf(options),
        (failure, response) => {
          release();
          if (failure) reject(this.#errorOf(failure, options.signal));
          else if (response !== undefined) resolve(response);
        },
      );
      const release = this.#hold(call, options.signal);
    });
  }

  /** The call starts at once and ends with the loop over its messages: leaving the loop cancels it. Errors as for unary. */
  serverStream<Request, Response>(
    method: RpcMethod<Request, Response> & { readonly requestStream: false; readonly responseStream: true },
    request: Request,
    options: StreamOptions = {},
  ): AsyncIterable<Response> {
    this.#refuseIfOver(options.signal);
    const stream = this.#client.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      headersOf(options),
      callOptionsOf(options),
    );
    const ending = this.#watchEnd(stream, options.signal);
    // Until somebody asks for a first message, grpc-js takes in all that comes, without a limit.
    stream.read(0);
    return this.#messages<Response>(stream, ending, options.signal);
  }

  bidi<Request, Response>(
    method: RpcMethod<Request, Response> & { readonly requestStream: true; readonly responseStream: true },
    handlers: BidiHandlers<Response>,
    options: StreamOptions = {},
  ): BidiStream<Request> {
    this.#refuseIfOver(options.signal);
    const stream = this.#client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      headersOf(options),
      callOptionsOf(options),
    );
    const ending = this.#watchEnd(stream, options.signal);
    const bidi = new ClientBidi<Request, Response>(stream, this.#maxPendingMessages);
    stream.on('data', (message: Response) => handlers.onMessage(message));
    // The status may be there before the last messages have been read; 'end' comes after them.
    stream.on('end', () => {
      bidi.end();
      handlers.onEnd(bidi.failure ?? (ending.failure && this.#errorOf(ending.failure, options.signal)));
    });
    return bidi;
  }

  /** Errors: UNAVAILABLE when no connection stands after timeoutMs. */
  async waitForReady(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(systemClock.wallTime() + timeoutMs, (cause) => {
        if (!cause) return resolve();
        const message = `no connection to ${this.address} within ${timeoutMs} ms`;
        reject(
          new TriremeError('UNAVAILABLE', message, { cause, remedy: 'check that the process runs and the address' }),
        );
      });
    });
  }

  /** Cancels what runs and closes the connection. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#client.close();
  }

  async *#messages<Response>(
    stream: ClientReadableStream<Response>,
    ending: Ending,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<Response> {
    try {
      yield* stream.iterator({ destroyOnReturn: false });
    } catch (error) {
      if (error !== ending.failure) throw TriremeError.from(error);
    } finally {
      stream.cancel();
    }
    if (ending.failure) throw this.#errorOf(ending.failure, signal);
  }

  /** The error event comes once, possibly before anybody reads; it is kept for whoever does. */
  #watchEnd(
    stream: ClientReadableStream<unknown> | ClientDuplexStream<unknown, unknown>,
    signal?: AbortSignal,
  ): Ending {
    const ending: Ending = { failure: undefined };
    const release = this.#hold(stream, signal);
    stream.on('error', (failure: Error & StatusObject) => {
      ending.failure = failure;
    });
    stream.on('status', release);
    return ending;
  }

  #hold(call: AnyCall, signal: AbortSignal | undefined): () => void {
    const cancel = (): void => call.cancel();
    this.#calls.add(call);
    signal?.addEventListener('abort', cancel, { once: true });
    return () => {
      this.#calls.delete(call);
      signal?.removeEventListener('abort', cancel);
    };
  }

  #refuseIfOver(signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw abortError(signal);
    if (this.#closed) throw new TriremeError('UNAVAILABLE', `the client of ${this.address} is closed`);
  }

  #errorOf(failure: StatusObject, signal: AbortSignal | undefined): TriremeError {
    return signal?.aborted ? abortError(signal) : errorFromStatus(failure, this.address);
  }
}

interface Ending {
  failure: (Error & StatusObject) | undefined;
}

function headersOf({ metadata = {} }: StreamOptions): Metadata {
  const headers = new Metadata();
  for (const [key, value] of Object.entries(metadata)) headers.set(key, value);
  return headers;
}

function callOptionsOf({ timeoutMs }: StreamOptions): { deadline?: number } {
  return timeoutMs === undefined ? {} : { deadline: systemClock.wallTime() + timeoutMs };
}

function abortError(signal: AbortSignal): TriremeError {
  if (signal.reason instanceof TriremeError) return signal.reason;
  return new TriremeError('CANCELLED', 'the call was cancelled', { cause: signal.reason });
}
