/**
 * Splits a model's reply into content, reasoning and calls while it comes.
 *
 *   const parser = new ReplyParser(format, { promptEnd, readsCalls: true, schemas });
 *   for (const text of pieces) show(parser.push(text));
 *   show(parser.end());
 *
 * Merged, the events are the same wherever the text was cut.
 */
import { assert } from '#platform/assert.ts';
import type { ReplyEvent } from './reply-event.ts';
import { ReplyEvents } from './reply-events.ts';
import type { Reply, ReplyFormat } from './reply-format.ts';
import { type Reading, ReplySource } from './reply-source.ts';

export type ReplyOptions = Pick<Reply, 'promptEnd' | 'readsCalls' | 'schemas'>;

export class ReplyParser {
  readonly #events = new ReplyEvents();
  readonly #source = new ReplySource(this.#events);
  readonly #reading: Reading<void>;

  constructor(format: ReplyFormat, options: ReplyOptions) {
    this.#reading = format.read({ ...options, source: this.#source, events: this.#events });
  }

  /** What is certain now. Text that may be the beginning of a marker is held back. */
  push(text: string): readonly ReplyEvent[] {
    if (text === '') return [];
    this.#source.feed(text);
    this.#reading.next();
    return this.#events.drain();
  }

  /** The rest. Call once, after the last text. */
  end(): readonly ReplyEvent[] {
    this.#source.finish();
    const { done } = this.#reading.next();
    assert(done && this.#source.text === '', 'a reply was not read to its end');
    return this.#events.drain();
  }
}
