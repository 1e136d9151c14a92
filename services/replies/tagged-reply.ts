/**
 * Replies whose parts stand between tags: reasoning first, then the answer with calls in it. Newlines beside a tag belong
 * to the tag, since templates write them there. A tag counts only where it can: the one that opens reasoning or the answer at
 * its beginning, the one that closes them once. Everything else that looks like a tag is text, as is a call that is none.
 */
import { findMarker } from './marker-search.ts';
import type { Reply, ReplyFormat } from './reply-format.ts';
import { newline, type Reading } from './reply-source.ts';

export interface Tags {
  readonly open: string;
  readonly close: string;
}

export interface CallSyntax {
  /** Begins a call, or a section of them. */
  readonly opener: string;
  /** What else of it may be spelled by special tokens. */
  readonly markers: readonly string[];
  /** Reasoning that does not end before a call ends with it. */
  readonly endsReasoning?: boolean;
  /** Reads what follows the opener. The source holds; true when a call has begun, and only then it holds no more. */
  read(reply: Reply): Reading<boolean>;
}

export interface TaggedSyntax {
  readonly name: string;
  readonly signs: readonly string[];
  /** Around what is not reasoning. */
  readonly answer?: Tags;
  readonly calls?: CallSyntax;
}

const thinking: Tags = { open: '<think>', close: '</think>' };

export function taggedFormat({ name, signs, answer, calls }: TaggedSyntax): ReplyFormat {
  const tags = [thinking, ...(answer ? [answer] : [])].flatMap(({ open, close }) => [open, close]);
  const markers = [...tags, ...(calls ? [calls.opener, ...calls.markers] : [])];
  const opens = answer ? [answer.open] : [];
  return {
    ...{ name, signs, markers },
    *read(reply) {
      const used = reply.readsCalls ? calls : undefined;
      // A prompt that ends with the opening tag has the reply begin inside; some models open it again.
      const startsInside = reply.promptEnd.trimEnd().endsWith(thinking.open);
      let opened = yield* acceptOpening(reply, [thinking.open, ...opens], startsInside);
      if (startsInside || opened === thinking.open) {
        yield* readReasoning(reply, used);
        opened = yield* acceptOpening(reply, opens, false);
      }
      yield* readAnswer(reply, opened === undefined ? undefined : answer?.close, used);
    },
  };
}

/** Takes the tag that comes next, newlines aside. isInside: these newlines are none of the answer's. */
function* acceptOpening({ source }: Reply, tags: readonly string[], isInside: boolean): Reading<string | undefined> {
  if (tags.length === 0) return undefined;
  source.hold();
  yield* source.skip(newline);
  const found = (yield* source.comesNext(tags)) ? tags.find((tag) => source.text.startsWith(tag)) : undefined;
  if (found !== undefined) {
    yield* source.accept(found);
    yield* source.skip(newline);
  }
  source.release(found !== undefined || isInside ? 'structure' : 'content');
  return found;
}

/** From behind its opening tag. */
function* readReasoning({ source }: Reply, calls: CallSyntax | undefined): Reading<void> {
  const markers = calls?.endsReasoning ? [thinking.close, calls.opener] : [thinking.close];
  const found = yield* findMarker(source, {
    ...{ markers, framed: true },
    onText: (length) => source.take(length, 'reasoning'),
  });
  if (found?.marker !== thinking.close) return;
  source.take(found.length, 'structure');
  yield* source.skip(newline);
}

/** close: ends the answer; undefined: it has no tags. */
function* readAnswer(reply: Reply, close: string | undefined, calls: CallSyntax | undefined): Reading<void> {
  const { source } = reply;
  let closing = close;
  for (;;) {
    const markers = [closing, calls?.opener].filter((marker) => marker !== undefined);
    const onText = (length: number): void => void source.take(length, 'content');
    const found = yield* findMarker(source, { markers, framed: true, onText });
    if (!found) return;
    source.hold();
    source.take(found.length, 'structure');
    if (found.marker === closing) {
      const isOver = yield* isClosed(reply, calls);
      source.release(isOver ? 'structure' : 'content');
      if (isOver) closing = undefined;
    } else if (calls && (yield* calls.read(reply))) yield* source.skip(newline);
    else source.release('content');
  }
}

/** An answer may speak of its own closing tag: it counts where nothing follows, or a call. */
function* isClosed({ source }: Reply, calls: CallSyntax | undefined): Reading<boolean> {
  yield* source.skip(newline);
  return (yield* source.isAtEnd()) || (calls !== undefined && (yield* source.comesNext([calls.opener])));
}
