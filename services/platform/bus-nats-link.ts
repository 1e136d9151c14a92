/**
 * The way to a NATS server: one connection at a time, a new one when it ends. Reconnecting is done here, because the
 * client library keeps what is published while the server is away, and its way out of a dead connection first waits for
 * that connection to take one more write.
 */
import { connect, ErrorCode, type NatsConnection, NatsError } from 'nats';
import type { Clock } from './clock.ts';
import { TriremeError } from './errors.ts';
import type { Logger } from './log.ts';

/** The server is asked for a sign of life this often, */
const pingMs = 1000;
/** and given up after this long without one. */
const silenceLimitMs = 3000;
const firstBackoffMs = 50;
const maxBackoffMs = 1000;
/** Once so much is on its way, the server is asked whether it has it; */
const askAfterBytes = 256 << 10;
/** beyond this, messages are dropped until it says so. */
const maxUnconfirmedBytes = 32 << 20;
/** The library's own pings would end in its own reconnecting. */
const libraryPingMs = 2 ** 31 - 1;

/** Tries every server once. */
export async function openConnection(urls: readonly string[]): Promise<NatsConnection> {
  return connect({
    servers: [...urls],
    name: 'trireme',
    timeout: silenceLimitMs,
    pingInterval: libraryPingMs,
    reconnect: false,
    noAsyncTraces: true,
  });
}

export interface NatsLinkOptions {
  readonly urls: readonly string[];
  readonly log: Logger;
  readonly clock: Clock;
  /** Called with every connection, the first one too. */
  onUp(connection: NatsConnection): void;
  onDown(): void;
}

export class NatsLink {
  readonly url: string;
  /** undefined while NATS is away. */
  #connection: NatsConnection | undefined;
  #isAsking = false;
  #droppedCount = 0;
  /** On this connection: handed to it, and known to have reached the server. Invariant: confirmed <= sent. */
  #sentBytes = 0;
  #confirmedBytes = 0;
  #cancelPings = (): void => {};
  readonly #closing = new AbortController();
  readonly #options: NatsLinkOptions;

  constructor(options: NatsLinkOptions) {
    this.#options = options;
    this.url = options.urls.join(',');
  }

  start(connection: NatsConnection): void {
    this.#cancelPings = this.#options.clock.every(pingMs, () => void this.#ask());
    this.#becomeUp(connection);
  }

  get connection(): NatsConnection | undefined {
    return this.#connection;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Sends, or drops and counts while NATS is away or too much is on its way. Errors: MESSAGE_TOO_LARGE. */
  send(byteCount: number, write: (connection: NatsConnection) => void): void {
    const connection = this.#connection;
    if (!connection || this.#unconfirmedBytes + byteCount > maxUnconfirmedBytes) return this.#drop();
    try {
      write(connection);
    } catch (cause) {
      if (isCode(cause, ErrorCode.MaxPayloadExceeded)) throw serverLimitError(byteCount, cause);
      return this.#drop(); // The connection ended a moment ago.
    }
    this.#sentBytes += byteCount;
    if (this.#unconfirmedBytes >= askAfterBytes) void this.#ask();
  }

  /** Resolves when the server has answered, and so has everything sent before. Errors: BUS_UNAVAILABLE. */
  async roundTrip(): Promise<void> {
    const connection = this.#connection;
    if (!connection) throw this.unavailable();
    const sentBytes = this.#sentBytes;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(silenceLimitMs, () => reject(this.unavailable()));
    connection.flush().then(resolve, () => reject(this.unavailable()));
    await promise.finally(cancel);
    if (this.#connection === connection) this.#confirmedBytes = Math.max(this.#confirmedBytes, sentBytes);
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.#closing.abort();
    this.#cancelPings();
    const connection = this.#connection;
    if (!connection) return;
    // What was published goes out first; a server that does not take it in time is not waited for.
    await this.roundTrip().catch(() => {});
    this.#becomeDown(connection);
    await connection.close();
  }

  unavailable(cause?: unknown): TriremeError {
    if (this.closed) return new TriremeError('BUS_UNAVAILABLE', 'the bus is closed');
    return new TriremeError('BUS_UNAVAILABLE', `NATS at ${this.url} does not answer`, {
      cause,
      remedy: 'check that NATS runs and can be reached',
    });
  }

  #becomeUp(connection: NatsConnection): void {
    this.#connection = connection;
    this.#sentBytes = 0;
    this.#confirmedBytes = 0;
    void connection.closed().then(() => this.#onLost(connection));
    this.#options.onUp(connection);
  }

  #becomeDown(connection: NatsConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#options.onDown();
  }

  #onLost(connection: NatsConnection): void {
    if (this.#connection !== connection) return;
    this.#becomeDown(connection);
    if (this.closed) return;
    this.#options.log.warn({ url: this.url }, 'NATS is away');
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    const { clock, log, urls } = this.#options;
    for (let backoffMs = firstBackoffMs; !this.closed; backoffMs = Math.min(backoffMs * 2, maxBackoffMs)) {
      // Closing ends the pause early; the loop then ends too.
      await clock.sleep(backoffMs, this.#closing.signal).catch(() => {});
      if (this.closed) return;
      try {
        const connection = await openConnection(urls);
        if (this.closed) return await connection.close();
        log.info({ url: this.url, droppedCount: this.#droppedCount }, 'NATS is back');
        this.#droppedCount = 0;
        return this.#becomeUp(connection);
      } catch (error) {
        log.debug({ err: error }, 'NATS is still away');
      }
    }
  }

  #drop(): void {
    this.#droppedCount++;
    if (this.#droppedCount > 1) return;
    this.#options.log.warn({ url: this.url }, 'dropping messages: NATS is away or behind');
  }

  get #unconfirmedBytes(): number {
    return this.#sentBytes - this.#confirmedBytes;
  }

  /** Asks the server whether it has everything, one question at a time, until little is open. Silence ends the connection. */
  async #ask(): Promise<void> {
    const connection = this.#connection;
    if (!connection || this.#isAsking) return;
    this.#isAsking = true;
    try {
      do await this.roundTrip();
      while (this.#connection === connection && this.#unconfirmedBytes >= askAfterBytes);
    } catch {
      await connection.close(); // Its silence is the error; the next connection makes up for it.
    } finally {
      this.#isAsking = false;
    }
  }
}

export function isCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof NatsError && error.code === code;
}

function serverLimitError(byteCount: number, cause: unknown): TriremeError {
  return new TriremeError('MESSAGE_TOO_LARGE', `NATS takes no message of ${byteCount} bytes`, {
    cause,
    remedy: 'raise max_payload of the NATS servers to 1 MiB',
  });
}
