/** The reply of one choice: ids in; text up to the first stop string, reasoning and calls out. */
import type { ChoiceDelta } from '#proto/inference.ts';
import type { ReplyEvent } from '#replies/reply-event.ts';
import type { ReplyParser } from '#replies/reply-parser.ts';
import type { Detokenizer } from '#tokenizer/detokenizer.ts';
import { StopMatcher, type StopStrings } from '#tokenizer/stop-matcher.ts';
import { addCallEvent } from './call-deltas.ts';

/** What of a delta the reply fills. */
export type ReplyFields = Pick<ChoiceDelta, 'text' | 'reasoning' | 'toolCalls'>;

export interface ChoiceReplyOptions {
  readonly detokenizer: Detokenizer;
  /** undefined: all of the reply is text. */
  readonly parser?: ReplyParser | undefined;
  /** undefined: the request has none. */
  readonly stops: StopStrings | undefined;
  /** Text of the first minTokens tokens is not looked at for stop strings. */
  readonly minTokens: number;
  /** Begins the ids of calls that the model leaves without one. */
  readonly callIdPrefix: string;
}

export class ChoiceReply {
  #stopped = false;
  #hasCall = false;
  #tokenCount = 0;
  readonly #matcher: StopMatcher | undefined;
  readonly #options: ChoiceReplyOptions;

  constructor(options: ChoiceReplyOptions) {
    this.#options = options;
    this.#matcher = options.stops && new StopMatcher(options.stops);
  }

  /** A stop string has come: the reply is over, and so is the choice. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** It has at least one call that can be carried out. */
  get hasCall(): boolean {
    return this.#hasCall;
  }

  /** Adds what is safe to show now. */
  push(id: number, into: ReplyFields): void {
    const { detokenizer, parser } = this.#options;
    this.#tokenCount++;
    const text = detokenizer.push(id);
    if (parser) this.#addEvents(parser.push(text), into);
    else into.text += this.#match(text);
  }

  /** Adds the rest, when the choice ends for another reason. A stop string may still complete here. */
  end(into: ReplyFields): void {
    const { detokenizer, parser } = this.#options;
    const text = detokenizer.end();
    if (parser) this.#addEvents([...parser.push(text), ...parser.end()], into);
    else into.text += this.#match(text);
    into.text += this.#matcher?.flush() ?? '';
  }

  #addEvents(events: readonly ReplyEvent[], into: ReplyFields): void {
    for (const event of events) {
      if (this.#stopped) return;
      switch (event.kind) {
        case 'content':
          into.text += this.#match(event.text);
          break;
        case 'reasoning':
          into.reasoning += event.text;
          break;
        case 'structure':
          break;
        default:
          this.#hasCall ||= event.kind === 'call-end' && event.fault === undefined;
          addCallEvent(into.toolCalls, event, this.#options.callIdPrefix);
      }
    }
  }

  #match(text: string): string {
    if (!this.#matcher || this.#tokenCount <= this.#options.minTokens) return text;
    const outcome = this.#matcher.push(text);
    this.#stopped = outcome.matched;
    return outcome.text;
  }
}
