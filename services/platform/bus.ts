/**
 * The bus that carries tokens: subjects, at-most-once delivery, order kept per publisher and subject.
 * Two adapters (bus-nats.ts, bus-embedded.ts) pass test/contract/bus-contract.ts.
 */
import { assert } from './assert.ts';
import { TriremeError } from './errors.ts';

/** What NATS takes unless an operator allows more. */
export const maxPayloadBytes = 1 << 20;

export type OnMessage = (payload: Uint8Array, respond: (reply: Uint8Array) => void) => void;

export interface Subscription {
  /** Nothing is delivered afterwards. Idempotent. */
  close(): void;
}

/** A payload belongs to the bus from then on: neither publisher nor subscriber writes to it. */
export interface Bus {
  /**
   * Never blocks. Dropped without an error while the bus is away or far behind: whoever needs every message numbers
   * them. Errors: MESSAGE_TOO_LARGE.
   */
  publish(subject: string, payload: Uint8Array): void;
  /**
   * Own messages are delivered too. onMessage must not throw. A reply, if one was asked for, is sent by calling respond.
   * In force once flush() has resolved; stays in force while the bus comes and goes.
   */
  subscribe(subject: string, onMessage: OnMessage): Subscription;
  /** Errors: DEADLINE_EXCEEDED without an answer in time, UNAVAILABLE with nobody listening, BUS_UNAVAILABLE, MESSAGE_TOO_LARGE. */
  request(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /** Resolves when everything published so far has reached the server. Errors: BUS_UNAVAILABLE. */
  flush(): Promise<void>;
  readonly connected: boolean;
  onConnection(onChange: (connected: boolean) => void): void;
  /** What was published before still goes out. Idempotent. */
  close(): Promise<void>;
}

/** Throws MESSAGE_TOO_LARGE beyond maxPayloadBytes. */
export function checkPayload(subject: string, payload: Uint8Array): void {
  if (payload.length <= maxPayloadBytes) return;
  const message = `a message of ${payload.length} bytes on ${subject}; the limit is ${maxPayloadBytes}`;
  throw new TriremeError('MESSAGE_TOO_LARGE', message);
}

/** Tokens of letters, digits, - and _ between dots. Wildcards are left out: the embedded bus has none. */
export function checkSubject(subject: string): void {
  assert(/^[\w-]+(\.[\w-]+)*$/.test(subject), `${JSON.stringify(subject)} is no subject`);
}
