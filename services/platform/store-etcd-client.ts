/**
 * Requests to etcd: each has a deadline and is made once. etcd3 repeats failed requests by itself, writes too, which
 * turns a lost answer into a wrong one ("the key exists" - because the first try made it); so its policies are off.
 */
import { Etcd3, EtcdLeaseInvalidError, GRPCInvalidArgumentError, type IOptions, isRecoverableError } from 'etcd3';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';

/** A quiet client asks for a sign of life this often, so that `connected` means something; more often while there is none. */
const probeMs = 1000;
const awayProbeMs = 250;

export interface EtcdClientOptions {
  /** Members of one cluster. One is used at a time; when it does not answer, the next. */
  readonly urls: readonly string[];
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
}

/** For a call with its own deadline. */
export interface CallOptions {
  readonly deadline: number;
}

export class EtcdClient {
  readonly clock: Clock;
  readonly requestTimeoutMs: number;
  readonly url: string;
  #closed = false;
  #connected = false;
  #current = 0;
  #lastAnswerMs = Number.NEGATIVE_INFINITY;
  #cancelProbe = (): void => {};
  readonly #listeners: ((connected: boolean) => void)[] = [];
  readonly #members: readonly Etcd3[];

  constructor({ urls, requestTimeoutMs, clock }: EtcdClientOptions) {
    this.clock = clock;
    this.requestTimeoutMs = requestTimeoutMs;
    this.url = urls.join(',');
    this.#members = urls.map((url) => new Etcd3(memberOptions(url)));
  }

  get connected(): boolean {
    return this.#connected;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The member in use; for streams, which the caller ends itself. */
  get member(): Etcd3 {
    const member = this.#members[this.#current];
    if (!member || this.#closed) throw new TriremeError('STORE_UNAVAILABLE', 'the store is closed');
    return member;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#listeners.push(onChange);
  }

  /** Errors: STORE_UNAVAILABLE, LEASE_LOST, MESSAGE_TOO_LARGE. */
  async call<T>(request: (member: Etcd3, options: CallOptions) => Promise<T>): Promise<T> {
    const { member } = this;
    try {
      const answer = await request(member, this.callOptions());
      this.#onAnswer();
      return answer;
    } catch (cause) {
      throw this.#failure(member, cause);
    }
  }

  callOptions(): CallOptions {
    return { deadline: systemClock.wallTime() + this.requestTimeoutMs };
  }

  /** One cheap read that needs a quorum. Errors: STORE_UNAVAILABLE. */
  async probe(): Promise<void> {
    await this.call((member, options) =>
      member.kv.range({ key: Buffer.from('\0'), limit: 1, keys_only: true }, options),
    );
  }

  /** Probes from now on whenever nothing else is asked. */
  startProbing(): void {
    const delayMs = this.#connected ? probeMs : awayProbeMs;
    this.#cancelProbe = this.clock.after(delayMs, () => void this.#probeWhenQuiet());
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelProbe();
    for (const member of this.#members) member.close();
    this.#setConnected(false);
  }

  async #probeWhenQuiet(): Promise<void> {
    const isQuiet = !this.#connected || this.clock.now() - this.#lastAnswerMs >= probeMs;
    // A failed probe has been noted by call(); the next one follows.
    if (isQuiet) await this.probe().catch(() => {});
    if (!this.#closed) this.startProbing();
  }

  #onAnswer(): void {
    if (this.#closed) return;
    this.#lastAnswerMs = this.clock.now();
    this.#setConnected(true);
  }

  #failure(member: Etcd3, cause: unknown): TriremeError {
    if (cause instanceof TriremeError) return cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof EtcdLeaseInvalidError) {
      this.#onAnswer();
      return new TriremeError('LEASE_LOST', 'etcd no longer knows the lease', { cause });
    }
    if (cause instanceof GRPCInvalidArgumentError && message.includes('too large')) {
      this.#onAnswer();
      return new TriremeError('MESSAGE_TOO_LARGE', `etcd refused: ${message}`, { cause });
    }
    if (cause instanceof Error && isRecoverableError(cause)) this.#onSilence(member);
    return new TriremeError('STORE_UNAVAILABLE', `etcd at ${this.url} did not answer: ${message}`, {
      cause,
      remedy: 'check that etcd runs, has a quorum and disk space, and can be reached',
    });
  }

  #onSilence(member: Etcd3): void {
    if (this.#members[this.#current] === member) this.#current = (this.#current + 1) % this.#members.length;
    this.#setConnected(false);
  }

  #setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    for (const onChange of this.#listeners) onChange(connected);
  }
}

function memberOptions(url: string): IOptions {
  return {
    hosts: url,
    faultHandling: { global: asItIs, host: () => asItIs },
    grpcOptions: {
      // etcd cuts clients that ping more often than every 5 s.
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      // A list, or what a watch missed, may be longer than grpc-js takes by default; etcd bounds each value.
      'grpc.max_receive_message_length': -1,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
    },
  };
}

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/** A policy that runs a request once and passes on what comes of it. */
const asItIs: Policy = {
  _altReturn: undefined as never,
  onSuccess: () => ({ dispose: () => {} }),
  onFailure: () => ({ dispose: () => {} }),
  execute: async (request) => request({ signal: new AbortController().signal }),
};
