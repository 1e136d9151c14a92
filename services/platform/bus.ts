/**
 * The bus that carries tokens: subjects, at-most-once delivery, order kept per publisher and subject.
 * Two adapters (bus-nats.ts, bus-embedded.ts) pass test/contract/bus-contract.ts.
 */

export interface Subscription {
  close(): void;
}

export interface Bus {
  /** Never blocks. Dropped without an error while the bus is away: whoever needs every message numbers them. */
  publish(subject: string, payload: Uint8Array): void;
  /** onMessage must not throw. A reply, if one was asked for, is sent by calling respond. */
  subscribe(
    subject: string,
    onMessage: (payload: Uint8Array, respond: (reply: Uint8Array) => void) => void,
  ): Subscription;
  /** Errors: DEADLINE_EXCEEDED without an answer in time, UNAVAILABLE with nobody listening, BUS_UNAVAILABLE. */
  request(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** Resolves when everything published so far has reached the server. */
  flush(): Promise<void>;
  readonly connected: boolean;
  onConnection(onChange: (connected: boolean) => void): void;
  close(): Promise<void>;
}
