/** A running call on the server: what a handler holds, wrapped around what grpc-js gives. */
import { on } from 'node:events';
import type { Metadata, ServerDuplexStream, ServerWritableStream, StatusObject } from '@grpc/grpc-js';
import { systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import type { RpcBidiCall, RpcCall, RpcStreamCall } from './rpc-service.ts';
import { statusFromError } from './rpc-status.ts';

/** What grpc-js's kinds of server call have in common. */
export interface SurfaceCall {
  readonly metadata: Metadata;
  getPeer(): string;
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** Common to all kinds of call. A call is over once: by its handler's outcome, or from outside (client, deadline, server). */
export abstract class ServerCall implements RpcCall {
  readonly timeoutMs: number | undefined;
  readonly peer: string;
  #over = false;
  readonly #abort = new AbortController();
  readonly #headers: Metadata;

  constructor(call: SurfaceCall) {
    const deadline = Number(call.getDeadline());
    this.timeoutMs = Number.isFinite(deadline) ? Math.max(0, deadline - systemClock.wallTime()) : undefined;
    this.peer = call.getPeer();
    this.#headers = call.metadata;
    call.on('cancelled', () => {
      const late = Number.isFinite(deadline) && systemClock.wallTime() >= deadline;
      this.#endFromOutside(
        late
          ? new TriremeError('DEADLINE_EXCEEDED', 'the deadline of the call has passed')
          : new TriremeError('CANCELLED', 'the client cancelled the call or went away'),
      );
    });
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get over(): boolean {
    return this.#over;
  }

  metadata(key: string): string | undefined {
    return this.#headers.get(key)[0]?.toString();
  }

  /** Ends the call with the handler's outcome. Nothing happens when it is over already. */
  finish(outcome: { readonly response: unknown } | { readonly error: unknown }): void {
    if (this.#over) return;
    this.#over = true;
    if ('error' in outcome) this.sendError(statusFromError(outcome.error));
    else this.sendEnd(outcome.response);
  }

  /** Ends the call over its handler's head: the client gets the error, the handler sees its signal abort. */
  abort(reason: TriremeError): void {
    if (this.#over) return;
    this.finish({ error: reason });
    this.#abort.abort(reason);
  }

  protected abstract sendEnd(response: unknown): void;
  protected abstract sendError(failure: StatusObject): void;

  #endFromOutside(reason: TriremeError): void {
    // grpc-js says "cancelled" after every call, the finished ones too.
    if (this.#over) return;
    this.#over = true;
    this.#abort.abort(reason);
  }
}

export class UnaryServerCall extends ServerCall {
  readonly #reply: (failure: StatusObject | null, response?: unknown) => void;

  constructor(call: SurfaceCall, reply: (failure: StatusObject | null, response?: unknown) => void) {
    super(call);
    this.#reply = reply;
  }

  protected sendEnd(response: unknown): void {
    this.#reply(null, response);
  }

  protected sendError(failure: StatusObject): void {
    this.#reply(failure);
  }
}

type Writer = ServerWritableStream<unknown, unknown> | ServerDuplexStream<unknown, unknown>;

export class StreamServerCall extends ServerCall implements RpcStreamCall<unknown> {
  readonly #stream: Writer;
  readonly #maxPendingMessages: number;

  constructor(stream: Writer, maxPendingMessages: number) {
    super(stream);
    this.#stream = stream;
    this.#maxPendingMessages = maxPendingMessages;
  }

  get pendingCount(): number {
    return this.#stream.writableLength;
  }

  send(message: unknown): boolean {
    if (this.over) return false;
    if (this.pendingCount < this.#maxPendingMessages) return this.#stream.write(message);
    this.abort(
      new TriremeError('SLOW_CONSUMER', `the client left ${this.pendingCount} messages unread`, {
        remedy: 'read faster, or ask for less at a time',
      }),
    );
    return false;
  }

  drained(): Promise<void> {
    if (this.signal.aborted) return Promise.reject(this.signal.reason);
    if (this.over || !this.#stream.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onDrain = (): void => {
        this.signal.removeEventListener('abort', onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#stream.off('drain', onDrain);
        reject(this.signal.reason);
      };
      this.#stream.once('drain', onDrain);
      this.signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  async write(message: unknown): Promise<void> {
    if (!this.send(message)) await this.drained();
  }

  protected sendEnd(): void {
    this.#stream.end();
  }

  /** grpc-js takes the status of a stream from an error event; what was written before still goes out. */
  protected sendError(failure: StatusObject): void {
    this.#stream.emit('error', Object.assign(new Error(failure.details), failure));
  }
}

/** Messages of a client that are read ahead of the handler; beyond it the connection's own flow control holds them back. */
const readAheadMax = 64;

export class BidiServerCall extends StreamServerCall implements RpcBidiCall<unknown, unknown> {
  readonly #duplex: ServerDuplexStream<unknown, unknown>;

  constructor(duplex: ServerDuplexStream<unknown, unknown>, maxPendingMessages: number) {
    super(duplex, maxPendingMessages);
    this.#duplex = duplex;
  }

  get requests(): AsyncIterable<unknown> {
    return this.#read();
  }

  async *#read(): AsyncGenerator<unknown> {
    // Not the stream's own iterator: that destroys the stream on an error event, and with it the status that sendError()
    // is about to send while somebody reads. Whoever stops reading may still write, too.
    const limits = { highWaterMark: readAheadMax, lowWaterMark: readAheadMax / 2 };
    const messages = on(this.#duplex, 'data', { close: ['end'], signal: this.signal, ...limits });
    try {
      for await (const [message] of messages) yield message;
    } catch (error) {
      throw this.signal.aborted ? this.signal.reason : error;
    }
  }
}
