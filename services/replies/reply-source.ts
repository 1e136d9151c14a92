/**
 * The text of a reply as a grammar reads it. A grammar is a generator that yields when it has to see more text than there
 * is; what it does depends on the text alone, never on the pieces in which it came. Text leaves the source only by take(),
 * which makes it an event: nothing is lost, and nothing comes twice.
 */
import { assert } from '#platform/assert.ts';
import type { TextKind } from './reply-event.ts';
import type { ReplyEvents } from './reply-events.ts';

export type Reading<T> = Generator<void, T, void>;

export const newline = '\n';
export const whitespace = ' \t\r\n';

export class ReplySource {
  #text = '';
  #ended = false;
  /** Structure that may yet turn out to be content; undefined: nothing is held. */
  #held: string | undefined;
  readonly #events: ReplyEvents;

  constructor(events: ReplyEvents) {
    this.#events = events;
  }

  feed(piece: string): void {
    assert(!this.#ended, 'a reply goes on after its end');
    this.#text += piece;
  }

  finish(): void {
    this.#ended = true;
  }

  /** What has come and is not taken. */
  get text(): string {
    return this.#text;
  }

  /** Nothing follows on what has come. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Waits for more. False: there is none. */
  *more(): Reading<boolean> {
    if (this.#ended) return false;
    yield;
    return true;
  }

  /** The first characters of what has come, as an event. */
  take(length: number, kind: TextKind): string {
    const text = this.#text.slice(0, length);
    this.#text = this.#text.slice(length);
    if (this.#held !== undefined && kind === 'structure') this.#held += text;
    else this.#events.text(kind, text);
    return text;
  }

  /** All that has come. */
  takeRest(kind: TextKind): string {
    return this.take(this.#text.length, kind);
  }

  /** From here on structure is held, until release() says what it was. */
  hold(): void {
    assert(this.#held === undefined, 'text is held twice');
    this.#held = '';
  }

  release(kind: TextKind): string {
    const held = this.#held;
    assert(held !== undefined, 'no text is held');
    this.#held = undefined;
    this.#events.text(kind, held);
    return held;
  }

  /** Takes the literal if it comes next. */
  *accept(literal: string): Reading<boolean> {
    const found = yield* this.comesNext([literal]);
    if (found) this.take(literal.length, 'structure');
    return found;
  }

  /** Whether one of the literals comes next. */
  *comesNext(literals: readonly string[]): Reading<boolean> {
    for (;;) {
      if (literals.some((literal) => this.#text.startsWith(literal))) return true;
      if (!literals.some((literal) => literal.startsWith(this.#text))) return false;
      if (!(yield* this.more())) return false;
    }
  }

  /** Takes all that comes next of these characters. */
  *skip(characters: string): Reading<void> {
    for (;;) {
      let length = 0;
      while (length < this.#text.length && characters.includes(this.#text[length]!)) length++;
      if (length > 0) this.take(length, 'structure');
      if (this.#text !== '' || !(yield* this.more())) return;
    }
  }

  /** Whether the reply ends here. */
  *isAtEnd(): Reading<boolean> {
    while (this.#text === '') if (!(yield* this.more())) return true;
    return false;
  }

  /**
   * Takes what stands before the first of the literals, at most maxLength characters, and leaves the literal. undefined:
   * none comes within that length, and nothing is taken.
   */
  *readUpTo(literals: readonly string[], maxLength: number): Reading<string | undefined> {
    const longest = Math.max(...literals.map(({ length }) => length));
    // What has been searched is set aside, so that a long text costs no more per piece than a short one.
    let aside = '';
    let length: number | undefined;
    for (;;) {
      const found = literals.map((literal) => this.#text.indexOf(literal)).filter((at) => at >= 0);
      const at = aside.length + Math.min(...found);
      if (at <= maxLength) {
        length = at;
        break;
      }
      const searched = Math.max(0, this.#text.length - longest + 1);
      aside += this.#text.slice(0, searched);
      this.#text = this.#text.slice(searched);
      if (aside.length > maxLength || !(yield* this.more())) break;
    }
    this.#text = aside + this.#text;
    return length === undefined ? undefined : this.take(length, 'structure');
  }
}
