/** Looks for markers in text that comes in pieces, and holds back what may be the beginning of one. */
import type { Reading, ReplySource } from './reply-source.ts';

/** Newlines before a marker belong to it, up to so many; those before them are text. */
export const maxFramingNewlines = 16;

export interface FoundMarker {
  readonly marker: string;
  /** Of the marker with the newlines before it. */
  readonly length: number;
}

export interface MarkerSearch {
  /** None may be the beginning of another. */
  readonly markers: readonly string[];
  /** Newlines before a marker belong to it. */
  readonly framed: boolean;
  /** Takes so many characters, which stand before the marker. */
  readonly onText: (length: number) => void;
}

/** Reads up to a marker and leaves it in the source. undefined: the reply ended without one. */
export function* findMarker(source: ReplySource, search: MarkerSearch): Reading<FoundMarker | undefined> {
  const { markers, framed, onText } = search;
  const pass = (length: number): void => {
    if (length > 0) onText(length);
  };
  for (;;) {
    const { text } = source;
    const found = first(text, markers);
    if (found) {
      const start = framed ? frameStart(text, found.at) : found.at;
      pass(start);
      return { marker: found.marker, length: found.at - start + found.marker.length };
    }
    const tail = text.length - partialLength(text, markers);
    pass(framed ? frameStart(text, tail) : tail);
    if (!(yield* source.more())) {
      pass(source.text.length);
      return undefined;
    }
  }
}

function first(text: string, markers: readonly string[]): { marker: string; at: number } | undefined {
  let best: { marker: string; at: number } | undefined;
  for (const marker of markers) {
    const at = text.indexOf(marker);
    if (at >= 0 && (!best || at < best.at)) best = { marker, at };
  }
  return best;
}

/** Where the newlines before a position begin. */
function frameStart(text: string, end: number): number {
  let start = end;
  while (start > 0 && end - start < maxFramingNewlines && text[start - 1] === '\n') start--;
  return start;
}

/** Length of the longest end of the text that is the beginning of a marker. */
function partialLength(text: string, markers: readonly string[]): number {
  let longest = 0;
  for (const marker of markers) {
    const start = marker[0]!;
    let at = text.indexOf(start, Math.max(0, text.length - marker.length + 1));
    while (at >= 0 && !marker.startsWith(text.slice(at))) at = text.indexOf(start, at + 1);
    if (at >= 0) longest = Math.max(longest, text.length - at);
  }
  return longest;
}
