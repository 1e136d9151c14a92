/** The client's side of a stream of messages in both directions. */
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { TriremeError } from './errors.ts';

export interface BidiHandlers<Response> {
  onMessage(message: Response): void;
  /** Once, after the last message; without an error when the server ended with OK. */
  onEnd(error: TriremeError | undefined): void;
}

export interface BidiStream<Request> {
  /** Never blocks. False: the server is behind. A message after the end is dropped. */
  send(message: Request): boolean;
  readonly pendingCount: number;
  /** No more messages from here; the server may go on. */
  end(): void;
  /** Ends at once; onEnd gets CANCELLED. */
  cancel(): void;
}

export class ClientBidi<Request, Response> implements BidiStream<Request> {
  /** Set when this side ended the stream for a reason of its own. */
  failure: TriremeError | undefined;
  readonly #stream: ClientDuplexStream<Request, Response>;
  readonly #maxPendingMessages: number;

  constructor(stream: ClientDuplexStream<Request, Response>, maxPendingMessages: number) {
    this.#stream = stream;
    this.#maxPendingMessages = maxPendingMessages;
  }

  get pendingCount(): number {
    return this.#stream.writableLength;
  }

  send(message: Request): boolean {
    if (this.#stream.writableEnded || this.failure) return false;
    if (this.pendingCount < this.#maxPendingMessages) return this.#stream.write(message);
    this.failure = new TriremeError('SLOW_CONSUMER', `the server left ${this.pendingCount} messages unread`);
    this.#stream.cancel();
    return false;
  }

  end(): void {
    if (!this.#stream.writableEnded) this.#stream.end();
  }

  cancel(): void {
    this.#stream.cancel();
  }
}
