/** The text of one choice: ids in, text out, up to the first stop string. */
import type { Detokenizer } from '#tokenizer/detokenizer.ts';
import { StopMatcher, type StopStrings } from '#tokenizer/stop-matcher.ts';

export interface ChoiceTextOptions {
  readonly detokenizer: Detokenizer;
  /** undefined: the request has none. */
  readonly stops: StopStrings | undefined;
  /** Text of the first minTokens tokens is not looked at for stop strings. */
  readonly minTokens: number;
}

export class ChoiceText {
  #stopped = false;
  #tokenCount = 0;
  readonly #detokenizer: Detokenizer;
  readonly #matcher: StopMatcher | undefined;
  readonly #minTokens: number;

  constructor({ detokenizer, stops, minTokens }: ChoiceTextOptions) {
    this.#detokenizer = detokenizer;
    this.#matcher = stops && new StopMatcher(stops);
    this.#minTokens = minTokens;
  }

  /** A stop string has come: the text is over, and so is the choice. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text that is safe to show now. */
  push(id: number): string {
    this.#tokenCount++;
    return this.#match(this.#detokenizer.push(id));
  }

  /** The rest, when the choice ends for another reason. A stop string may still complete here. */
  end(): string {
    const text = this.#match(this.#detokenizer.end());
    return this.#stopped ? text : text + (this.#matcher?.flush() ?? '');
  }

  #match(text: string): string {
    if (!this.#matcher || this.#tokenCount <= this.#minTokens) return text;
    const outcome = this.#matcher.push(text);
    this.#stopped = outcome.matched;
    return outcome.text;
  }
}
