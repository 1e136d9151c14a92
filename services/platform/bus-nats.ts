/**
 * The bus over NATS; the only importer of nats. Reconnecting is done here, with a new connection each time: the client
 * library keeps what is published while the server is away, and its way out of a dead connection first waits for that
 * connection to take one more write.
 */
import {
  connect,
  ErrorCode,
  type Msg,
  type NatsConnection,
  NatsError,
  type Subscription as NatsSubscription,
} from 'nats';
import { type Bus, checkPayload, checkSubject, type OnMessage, type Subscription } from './bus.ts';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import type { Logger } from './log.ts';
import { waitForStart } from './wait-for-start.ts';

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
const libraryPingMs = 0x7fff_ffff;

export interface NatsBusOptions {
  /** Servers of one cluster: nats://host:port. */
  readonly urls: readonly string[];
  readonly log: Logger;
  /** How long to wait for NATS at the start. Default 30,000. */
  readonly startLimitMs?: number;
  readonly clock?: Clock;
}

/** Connects, waiting with a message when NATS is not there yet. Errors: BUS_UNAVAILABLE after startLimitMs. */
export async function connectNatsBus(options: NatsBusOptions): Promise<Bus> {
  const { urls, log, startLimitMs = 30_000, clock = systemClock } = options;
  const url = urls.join(',');
  const start = { name: 'NATS', url, code: 'BUS_UNAVAILABLE', limitMs: startLimitMs } as const;
  const connection = await waitForStart({ ...start, clock, log }, () => open(urls));
  return new NatsBus(connection, { urls, log, clock });
}

async function open(urls: readonly string[]): Promise<NatsConnection> {
  return connect({
    servers: [...urls],
    name: 'trireme',
    timeout: silenceLimitMs,
    pingInterval: libraryPingMs,
    reconnect: false,
    noAsyncTraces: true,
  });
}

interface Listener {
  readonly subject: string;
  readonly onMessage: OnMessage;
  /** On the current connection; undefined while there is none. */
  inForce: NatsSubscription | undefined;
}

class NatsBus implements Bus {
  /** undefined while the bus is away. */
  #connection: NatsConnection | undefined;
  #closed = false;
  #droppedCount = 0;
  #unconfirmedBytes = 0;
  #confirming: Promise<void> | undefined;
  readonly #cancelPings: () => void;
  readonly #closing = new AbortController();
  readonly #clock: Clock;
  readonly #listeners = new Set<Listener>();
  readonly #log: Logger;
  readonly #onConnection: ((connected: boolean) => void)[] = [];
  readonly #pending = new Set<(error: TriremeError) => void>();
  readonly #urls: readonly string[];

  constructor(connection: NatsConnection, options: { urls: readonly string[]; log: Logger; clock: Clock }) {
    this.#urls = options.urls;
    this.#log = options.log;
    this.#clock = options.clock;
    this.#cancelPings = this.#clock.every(pingMs, () => void this.#confirm());
    this.#becomeConnected(connection);
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#onConnection.push(onChange);
  }

  publish(subject: string, payload: Uint8Array): void {
    checkSubject(subject);
    checkPayload(subject, payload);
    const connection = this.#connection;
    if (!connection || this.#unconfirmedBytes + payload.length > maxUnconfirmedBytes) return this.#drop();
    this.#send(payload.length, () => connection.publish(subject, payload));
  }

  subscribe(subject: string, onMessage: OnMessage): Subscription {
    checkSubject(subject);
    if (this.#closed) throw this.#unavailable();
    const listener: Listener = { subject, onMessage, inForce: undefined };
    this.#listeners.add(listener);
    if (this.#connection) this.#putInForce(listener, this.#connection);
    return {
      close: () => {
        if (!this.#listeners.delete(listener)) return;
        listener.inForce?.unsubscribe();
      },
    };
  }

  async request(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    checkSubject(subject);
    checkPayload(subject, payload);
    const connection = this.#connection;
    if (!connection) throw this.#unavailable();
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#pending.add(reject);
    connection.request(subject, payload, { timeout: timeoutMs }).then(
      ({ data }) => resolve(plain(data)),
      // The library ends what waits on a connection that breaks as if its time were up.
      (cause: unknown) =>
        reject(connection.isClosed() ? this.#unavailable(cause) : this.#requestError(cause, subject, timeoutMs)),
    );
    return promise.finally(() => this.#pending.delete(reject));
  }

  async flush(): Promise<void> {
    const connection = this.#connection;
    if (!connection) throw this.#unavailable();
    await this.#roundTrip(connection);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing.abort();
    this.#cancelPings();
    const connection = this.#connection;
    if (!connection) return;
    for (const listener of this.#listeners) listener.inForce?.unsubscribe();
    this.#listeners.clear();
    // What was published goes out first; a server that does not take it in time is not waited for.
    await this.#roundTrip(connection).catch(() => {});
    this.#becomeAway(connection);
    await connection.close();
  }

  #becomeConnected(connection: NatsConnection): void {
    this.#connection = connection;
    this.#unconfirmedBytes = 0;
    for (const listener of this.#listeners) this.#putInForce(listener, connection);
    void connection.closed().then(() => this.#onLost(connection));
    for (const onChange of this.#onConnection) onChange(true);
  }

  #becomeAway(connection: NatsConnection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    for (const listener of this.#listeners) listener.inForce = undefined;
    for (const fail of [...this.#pending]) fail(this.#unavailable());
    for (const onChange of this.#onConnection) onChange(false);
  }

  #onLost(connection: NatsConnection): void {
    if (this.#connection !== connection) return;
    this.#becomeAway(connection);
    if (this.#closed) return;
    this.#log.warn({ url: this.#urls.join(',') }, 'NATS is away');
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    for (let backoffMs = firstBackoffMs; !this.#closed; backoffMs = Math.min(backoffMs * 2, maxBackoffMs)) {
      // Closing ends the pause early; the loop then ends too.
      await this.#clock.sleep(backoffMs, this.#closing.signal).catch(() => {});
      if (this.#closed) return;
      try {
        const connection = await open(this.#urls);
        if (this.#closed) return await connection.close();
        this.#log.info({ url: this.#urls.join(','), droppedCount: this.#droppedCount }, 'NATS is back');
        this.#droppedCount = 0;
        this.#becomeConnected(connection);
        return;
      } catch (error) {
        this.#log.debug({ err: error }, 'NATS is still away');
      }
    }
  }

  #putInForce(listener: Listener, connection: NatsConnection): void {
    if (connection.isClosed()) return; // It ended a moment ago; the next connection puts the listener in force.
    listener.inForce = connection.subscribe(listener.subject, {
      callback: (error, message) => {
        if (error) this.#log.error({ err: error, subject: listener.subject }, 'subscription refused by NATS');
        else if (this.#listeners.has(listener)) this.#deliver(listener, message);
      },
    });
  }

  #deliver(listener: Listener, message: Msg): void {
    try {
      listener.onMessage(plain(message.data), (reply) => {
        checkPayload(`the reply on ${listener.subject}`, reply);
        if (message.reply) this.#send(reply.length, () => message.respond(reply));
      });
    } catch (bug) {
      // Thrown here it would silently end the library's reader; on its own it ends the process, as a bug should.
      queueMicrotask(() => {
        throw bug;
      });
    }
  }

  #send(byteCount: number, send: () => void): void {
    try {
      send();
    } catch (cause) {
      if (isCode(cause, ErrorCode.MaxPayloadExceeded)) throw serverLimitError(byteCount, cause);
      return this.#drop(); // The connection ended a moment ago.
    }
    this.#unconfirmedBytes += byteCount;
    if (this.#unconfirmedBytes >= askAfterBytes) void this.#confirm();
  }

  #drop(): void {
    this.#droppedCount++;
    if (this.#droppedCount === 1)
      this.#log.warn({ url: this.#urls.join(',') }, 'dropping messages: NATS is away or behind');
  }

  /** Asks the server whether it has everything; one question at a time. No answer in time ends the connection. */
  #confirm(): Promise<void> {
    const connection = this.#connection;
    if (!connection) return Promise.resolve();
    const byteCount = this.#unconfirmedBytes;
    this.#confirming ??= this.#roundTrip(connection)
      .then(
        () => {
          if (this.#connection === connection) this.#unconfirmedBytes -= byteCount;
        },
        () => connection.close(),
      )
      .finally(() => {
        this.#confirming = undefined;
      });
    return this.#confirming;
  }

  async #roundTrip(connection: NatsConnection): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const cancel = this.#clock.after(silenceLimitMs, () => reject(this.#unavailable()));
    connection.flush().then(resolve, () => reject(this.#unavailable()));
    await promise.finally(cancel);
  }

  #requestError(cause: unknown, subject: string, timeoutMs: number): TriremeError {
    if (isCode(cause, ErrorCode.NoResponders)) {
      return new TriremeError('UNAVAILABLE', `nobody listens on ${subject}`, { cause });
    }
    if (isCode(cause, ErrorCode.Timeout)) {
      return new TriremeError('DEADLINE_EXCEEDED', `no answer on ${subject} within ${timeoutMs} ms`, { cause });
    }
    return this.#unavailable(cause);
  }

  #unavailable(cause?: unknown): TriremeError {
    if (this.#closed) return new TriremeError('BUS_UNAVAILABLE', 'the bus is closed');
    return new TriremeError('BUS_UNAVAILABLE', `NATS at ${this.#urls.join(',')} does not answer`, {
      cause,
      remedy: 'check that NATS runs and can be reached',
    });
  }
}

/** The library hands out Buffers, whose slice() does not copy; readers count on that of Uint8Array. */
function plain(data: Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function isCode(error: unknown, code: ErrorCode): boolean {
  return error instanceof NatsError && error.code === code;
}

function serverLimitError(byteCount: number, cause: unknown): TriremeError {
  return new TriremeError('MESSAGE_TOO_LARGE', `NATS takes no message of ${byteCount} bytes`, {
    cause,
    remedy: 'raise max_payload of the NATS servers to 1 MiB',
  });
}
