/** The bus over NATS. With bus-nats-link.ts the only importer of nats. */
import { ErrorCode, type Msg, type NatsConnection, type Subscription as NatsSubscription } from 'nats';
import { type Bus, checkPayload, checkSubject, type OnMessage, type Subscription } from './bus.ts';
import { isCode, NatsLink, openConnection } from './bus-nats-link.ts';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import type { Logger } from './log.ts';
import { waitForStart } from './wait-for-start.ts';

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
  const start = { name: 'NATS', url: urls.join(','), code: 'BUS_UNAVAILABLE', limitMs: startLimitMs } as const;
  const connection = await waitForStart({ ...start, clock, log }, () => openConnection(urls));
  return new NatsBus(connection, { urls, log, clock });
}

interface Listener {
  readonly subject: string;
  readonly onMessage: OnMessage;
  /** On the current connection; undefined while there is none. */
  inForce: NatsSubscription | undefined;
}

class NatsBus implements Bus {
  readonly #link: NatsLink;
  readonly #listeners = new Set<Listener>();
  readonly #log: Logger;
  readonly #onConnection: ((connected: boolean) => void)[] = [];

  constructor(connection: NatsConnection, options: { urls: readonly string[]; log: Logger; clock: Clock }) {
    this.#log = options.log;
    this.#link = new NatsLink({ ...options, onUp: (up) => this.#onUp(up), onDown: () => this.#onDown() });
    this.#link.start(connection);
  }

  get connected(): boolean {
    return this.#link.connection !== undefined;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#onConnection.push(onChange);
  }

  publish(subject: string, payload: Uint8Array): void {
    checkSubject(subject);
    checkPayload(subject, payload);
    this.#link.send(payload.length, (connection) => connection.publish(subject, payload));
  }

  subscribe(subject: string, onMessage: OnMessage): Subscription {
    checkSubject(subject);
    if (this.#link.closed) throw this.#link.unavailable();
    const listener: Listener = { subject, onMessage, inForce: undefined };
    this.#listeners.add(listener);
    if (this.#link.connection) this.#putInForce(listener, this.#link.connection);
    return {
      close: () => {
        if (this.#listeners.delete(listener)) listener.inForce?.unsubscribe();
      },
    };
  }

  async request(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    checkSubject(subject);
    checkPayload(subject, payload);
    const { connection } = this.#link;
    if (!connection) throw this.#link.unavailable();
    try {
      return plain((await connection.request(subject, payload, { timeout: timeoutMs })).data);
    } catch (cause) {
      // The library ends what waits on a connection that breaks as if its time were up.
      throw connection.isClosed() ? this.#link.unavailable(cause) : this.#requestError(cause, subject, timeoutMs);
    }
  }

  flush(): Promise<void> {
    return this.#link.roundTrip();
  }

  async close(): Promise<void> {
    for (const listener of this.#listeners) listener.inForce?.unsubscribe();
    this.#listeners.clear();
    await this.#link.close();
  }

  #onUp(connection: NatsConnection): void {
    for (const listener of this.#listeners) this.#putInForce(listener, connection);
    for (const onChange of this.#onConnection) onChange(true);
  }

  #onDown(): void {
    for (const listener of this.#listeners) listener.inForce = undefined;
    for (const onChange of this.#onConnection) onChange(false);
  }

  #putInForce(listener: Listener, connection: NatsConnection): void {
    if (connection.isClosed()) return; // It ended a moment ago; the next connection puts the listener in force.
    listener.inForce = connection.subscribe(listener.subject, {
      callback: (error, message) => {
        if (error) this.#log.error({ err: error, subject: listener.subject }, 'subscription refused by NATS');
        else this.#deliver(listener, message);
      },
    });
  }

  #deliver(listener: Listener, message: Msg): void {
    try {
      listener.onMessage(plain(message.data), (reply) => {
        checkPayload(`the reply on ${listener.subject}`, reply);
        if (message.reply) this.#link.send(reply.length, () => message.respond(reply));
      });
    } catch (bug) {
      // Thrown here it would silently end the library's reader; on its own it ends the process, as a bug should.
      queueMicrotask(() => {
        throw bug;
      });
    }
  }

  #requestError(cause: unknown, subject: string, timeoutMs: number): TriremeError {
    if (isCode(cause, ErrorCode.NoResponders)) {
      return new TriremeError('UNAVAILABLE', `nobody listens on ${subject}`, { cause });
    }
    if (isCode(cause, ErrorCode.Timeout)) {
      return new TriremeError('DEADLINE_EXCEEDED', `no answer on ${subject} within ${timeoutMs} ms`, { cause });
    }
    return this.#link.unavailable(cause);
  }
}

/** The library hands out Buffers, whose slice() does not copy; readers count on that of Uint8Array. */
function plain(data: Uint8Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
