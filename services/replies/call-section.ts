/** Calls one after the other, between a marker that opens the section and one that closes it. */
import type { Reply } from './reply-format.ts';
import { type Reading, whitespace } from './reply-source.ts';

export interface SectionSyntax {
  /** Closes the section. */
  readonly close: string;
  /** Begins each call. */
  readonly opener: string;
  /** Reads what follows it. The source holds; true when a call has begun, and only then it holds no more. */
  read(reply: Reply): Reading<boolean>;
}

/** True when at least one call has begun. What is no call ends the section and is content. */
export function* readSection(reply: Reply, { close, opener, read }: SectionSyntax): Reading<boolean> {
  const { source } = reply;
  for (let isFirst = true; ; isFirst = false) {
    yield* source.skip(whitespace);
    if (yield* source.accept(close)) return !isFirst;
    if (!isFirst) source.hold();
    if ((yield* source.accept(opener)) && (yield* read(reply))) continue;
    if (isFirst) return false;
    source.release('content');
    return true;
  }
}
