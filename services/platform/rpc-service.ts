/** How a service is written down: one handler per method, its kind and message types taken from the generated definition. */

/** A method as ts-proto generates it. */
export interface RpcMethod<Request, Response> {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(value: Request): Buffer;
  requestDeserialize(value: Buffer): Request;
  responseSerialize(value: Response): Buffer;
  responseDeserialize(value: Buffer): Response;
}

type RequestOf<Method> = Method extends { requestDeserialize(value: Buffer): infer Request } ? Request : never;
type ResponseOf<Method> = Method extends { responseDeserialize(value: Buffer): infer Response } ? Response : never;

/** A call as the server sees it. */
export interface RpcCall {
  /** Aborts when the client cancels or goes, the deadline passes, or the server stops. Its reason is a TriremeError. */
  readonly signal: AbortSignal;
  /** The time that the client gave, counted from the arrival of the call; undefined without a deadline. */
  readonly timeoutMs: number | undefined;
  /** host:port of the other end. */
  readonly peer: string;
  /** A header that the client sent. */
  metadata(key: string): string | undefined;
}

/** Sending never blocks; whoever produces faster than the client reads waits for drained(). */
export interface RpcStreamCall<Response> extends RpcCall {
  /** False: the client is behind, wait for drained(). Past maxPendingMessages the call ends with SLOW_CONSUMER. A message after the end is dropped. */
  send(message: Response): boolean;
  /** Resolves when there is room again; rejects with signal.reason when the call is over. */
  drained(): Promise<void>;
  /** send, then drained when there is no room. */
  write(message: Response): Promise<void>;
  /** Messages that wait for the client. */
  readonly pendingCount: number;
}

export interface RpcBidiCall<Request, Response> extends RpcStreamCall<Response> {
  /**
   * Ends when the client has sent its last or is gone: on the wire these look alike at first, and signal tells a moment
   * later. Throws signal.reason when the server or the deadline ends the call before.
   */
  readonly requests: AsyncIterable<Request>;
}

/** The call ends when the promise does: with OK, or with the status of the error. */
export type RpcHandler<Method> = Method extends { requestStream: true; responseStream: true }
  ? (call: RpcBidiCall<RequestOf<Method>, ResponseOf<Method>>) => Promise<void>
  : Method extends { requestStream: false; responseStream: true }
    ? (request: RequestOf<Method>, call: RpcStreamCall<ResponseOf<Method>>) => Promise<void>
    : Method extends { requestStream: false; responseStream: false }
      ? (request: RequestOf<Method>, call: RpcCall) => Promise<ResponseOf<Method>>
      : never;

export type RpcHandlers<Definition> = { readonly [Name in keyof Definition]: RpcHandler<Definition[Name]> };

export type RpcDefinition = Readonly<Record<string, RpcMethod<unknown, unknown>>>;

/** A handler whose types have been checked by implement(). */
export type ErasedHandler = (first: unknown, second?: unknown) => Promise<unknown>;

export interface RpcService {
  /** Full name, as reflection and health know it: trireme.v1.Inference. */
  readonly name: string;
  readonly definition: RpcDefinition;
  readonly handlers: Readonly<Record<string, ErasedHandler>>;
}

/** Pairs a generated definition (InferenceService) with its handlers. */
export function implement<Definition extends RpcDefinition>(
  definition: Definition,
  handlers: RpcHandlers<Definition>,
): RpcService {
  const [method] = Object.values(definition);
  const name = method?.path.split('/')[1] ?? '';
  return { name, definition, handlers: handlers as unknown as RpcService['handlers'] };
}
