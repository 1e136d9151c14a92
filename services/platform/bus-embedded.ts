/** The bus inside one process. Payloads are passed on uncopied: neither side may write to one after publishing it. */
import { type Bus, checkPayload, checkSubject, type OnMessage, type Subscription } from './bus.ts';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';

const ignoreReply = (): void => {};

export class EmbeddedBus implements Bus {
  #closed = false;
  readonly #clock: Clock;
  readonly #listeners = new Map<string, Set<OnMessage>>();
  readonly #onConnection: ((connected: boolean) => void)[] = [];
  readonly #pending = new Set<(error: TriremeError) => void>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  get connected(): boolean {
    return !this.#closed;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#onConnection.push(onChange);
  }

  publish(subject: string, payload: Uint8Array): void {
    checkSubject(subject);
    checkPayload(subject, payload);
    this.#send(subject, payload, ignoreReply);
  }

  subscribe(subject: string, onMessage: OnMessage): Subscription {
    checkSubject(subject);
    if (this.#closed) throw closedError();
    const listener: OnMessage = (payload, respond) => onMessage(payload, respond);
    const listeners = this.#listeners.get(subject) ?? new Set();
    this.#listeners.set(subject, listeners.add(listener));
    return {
      close: () => {
        listeners.delete(listener);
        if (listeners.size === 0 && this.#listeners.get(subject) === listeners) this.#listeners.delete(subject);
      },
    };
  }

  async request(subject: string, payload: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    checkSubject(subject);
    checkPayload(subject, payload);
    if (this.#closed) throw closedError();
    if (!this.#listeners.has(subject)) throw new TriremeError('UNAVAILABLE', `nobody listens on ${subject}`);
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        cancel();
        this.#pending.delete(fail);
        then();
      };
      const fail = (error: TriremeError): void => settle(() => reject(error));
      const cancel = this.#clock.after(timeoutMs, () =>
        fail(new TriremeError('DEADLINE_EXCEEDED', `no answer on ${subject} within ${timeoutMs} ms`)),
      );
      this.#pending.add(fail);
      this.#send(subject, payload, (reply) => {
        checkPayload(`the reply on ${subject}`, reply);
        settle(() => resolve(reply));
      });
    });
  }

  async flush(): Promise<void> {
    if (this.#closed) throw closedError();
    await Promise.resolve();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    for (const fail of [...this.#pending]) fail(closedError());
    for (const onChange of this.#onConnection) onChange(false);
  }

  #send(subject: string, payload: Uint8Array, respond: (reply: Uint8Array) => void): void {
    const listeners = this.#listeners.get(subject);
    if (!listeners || this.#closed) return;
    for (const listener of listeners) {
      queueMicrotask(() => {
        if (listeners.has(listener) && !this.#closed) listener(payload, respond);
      });
    }
  }
}

function closedError(): TriremeError {
  return new TriremeError('BUS_UNAVAILABLE', 'the embedded bus is closed');
}
