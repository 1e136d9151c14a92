/** Collects the events of a reply. Text that follows on text of the same kind is one event. */
import { assert } from '#platform/assert.ts';
import type { CallFault, ReplyEvent, TextKind } from './reply-event.ts';

export class ReplyEvents {
  #events: ReplyEvent[] = [];
  #callCount = 0;
  /** Of the call that is open; undefined: none is. */
  #openCall: number | undefined;

  /** Those since the last time. */
  drain(): readonly ReplyEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  text(kind: TextKind, text: string): void {
    if (text === '') return;
    const last = this.#events.at(-1);
    if (last?.kind === kind) this.#events[this.#events.length - 1] = { kind, text: last.text + text };
    else this.#events.push({ kind, text });
  }

  openCall(name: string, id?: string): void {
    assert(this.#openCall === undefined, 'a call begins inside another');
    this.#openCall = this.#callCount++;
    this.#events.push({ kind: 'call', index: this.#openCall, name, id });
  }

  arguments(text: string): void {
    const index = this.#openCall;
    assert(index !== undefined, 'arguments outside a call');
    if (text !== '') this.#events.push({ kind: 'arguments', index, text });
  }

  closeCall(fault?: CallFault): void {
    const index = this.#openCall;
    assert(index !== undefined, 'a call ends that has not begun');
    this.#openCall = undefined;
    this.#events.push({ kind: 'call-end', index, fault });
  }
}
