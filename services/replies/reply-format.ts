/** What a format of replies is: how to tell that a model uses it, and how to read it. */
import type { JsonObject } from '#platform/json-object.ts';
import type { ReplyEvents } from './reply-events.ts';
import type { Reading, ReplySource } from './reply-source.ts';

export interface ReplyFormat {
  readonly name: string;
  /** A model uses the format when its chat template, or else its added tokens, have all of these texts. */
  readonly signs: readonly string[];
  /** Texts with a meaning. Special tokens that occur in one have to be in the text of a reply. */
  readonly markers: readonly string[];
  /** Reads a reply to its end. */
  read(reply: Reply): Reading<void>;
}

/** A reply, and what has to be known to read it. */
export interface Reply {
  readonly source: ReplySource;
  readonly events: ReplyEvents;
  /** The end of the prompt that the reply goes on. */
  readonly promptEnd: string;
  /** Calls are looked for; without, what looks like one is content. */
  readonly readsCalls: boolean;
  /** JSON schemas of the arguments, by function; a function that is not there is taken as it comes. */
  readonly schemas: ReadonlyMap<string, JsonObject>;
}

/** What was held as the beginning of a call is one. */
export function beginCall({ source, events }: Reply, name: string, id?: string): void {
  source.release('structure');
  events.openCall(name, id);
}

/** A function's name that stands without quotes. */
export function isFunctionName(text: string | undefined): text is string {
  return text !== undefined && /^[^\s"'`<>{}]+$/.test(text);
}

/** Function names, keys and ids of calls. A longer one makes the call no call. */
export const maxNameLength = 256;

/** What of a call has to be whole before it can be passed on: a value that is no text, what comes before the name. */
export const maxHeldLength = 1 << 18;
