/**
 * The decoder of a tokenizer.json as a chain of stages through which a stream's tokens pass one by one. A token costs the
 * same wherever it stands, and the text of the stream is exactly that of all its tokens decoded at once.
 *
 * Clean-up of spaces (clean_up_tokenization_spaces) is left out on purpose: it changes what the model wrote, code above all.
 */
import { bytesOfToken } from './byte-table.ts';
import { Utf8Stream } from './utf8-stream.ts';

export interface Stage {
  /** verbatim: an added token, whose content is text already. */
  push(piece: string, verbatim: boolean): void;
  /** No more pieces; what is held goes on. */
  end(): void;
}

export interface StageOptions {
  /** The stream goes on a text that came before, so that its first piece keeps its leading space. */
  readonly continues: boolean;
}

/** Makes a stage in front of the next one. */
export type StageMaker = (next: Stage, options: StageOptions) => Stage;

/** A token of a byte-level vocabulary, worked out once. */
interface ByteToken {
  readonly bytes: Uint8Array;
  /** What the bytes are between whole characters; undefined when they begin one that they do not end. */
  readonly text: string | undefined;
}

/** Characters that stand for bytes; a character may be spread over tokens. */
export function byteLevel(): StageMaker {
  const known = new Map<string, ByteToken>();
  const lookUp = (token: string): ByteToken => {
    let entry = known.get(token);
    if (!entry) {
      entry = byteToken(token);
      known.set(token, entry);
    }
    return entry;
  };
  return (next) => {
    const stream = new Utf8Stream();
    return {
      push(piece, verbatim) {
        if (verbatim) {
          next.push(stream.flush() + piece, true);
          return;
        }
        const { bytes, text } = lookUp(piece);
        next.push(text !== undefined && stream.isClean ? text : stream.push(bytes), false);
      },
      end() {
        next.push(stream.flush(), false);
        next.end();
      },
    };
  };
}

/** Tokens <0x00> .. <0xFF> stand for bytes, all others for themselves. */
export const byteFallback: StageMaker = (next) => {
  const stream = new Utf8Stream();
  const flush = (): void => {
    if (!stream.isClean) next.push(stream.flush(), false);
  };
  return {
    push(piece, verbatim) {
      const byte = byteOfFallback(piece);
      if (byte === undefined) {
        flush();
        next.push(piece, verbatim);
        return;
      }
      const text = stream.push(Uint8Array.of(byte));
      if (text !== '') next.push(text, false);
    },
    end() {
      flush();
      next.end();
    },
  };
};

export function replace(pattern: string | RegExp, content: string): StageMaker {
  return (next) => ({
    push: (piece, verbatim) =>
      next.push(
        piece.replaceAll(pattern, () => content),
        verbatim,
      ),
    end: () => next.end(),
  });
}

/** The replacement character is a space; the one that the encoder put in front of the text goes. */
export function metaspace(replacement: string, stripsFirst: boolean): StageMaker {
  return (next, { continues }) => {
    let isFirst = stripsFirst && !continues;
    return {
      push(piece, verbatim) {
        const text = piece.replaceAll(replacement, ' ');
        next.push(isFirst && text.startsWith(' ') ? text.slice(1) : text, verbatim);
        isFirst = false;
      },
      end: () => next.end(),
    };
  };
}

/** Cuts up to `start` and `stop` times `content` off every piece. */
export function stripPieces(content: string, start: number, stop: number): StageMaker {
  return (next) => ({
    push(piece, verbatim) {
      const from = countAtStart(piece, content, start);
      const rest = piece.slice(from);
      next.push(rest.slice(0, rest.length - countAtEnd(rest, content, stop)), verbatim);
    },
    end: () => next.end(),
  });
}

/** The same for the text as a whole, which takes holding back what may be its end. */
export function stripText(content: string, start: number, stop: number): StageMaker {
  return (next, { continues }) => {
    let left = continues ? 0 : start;
    let held = 0;
    return {
      push(piece, verbatim) {
        const cut = countAtStart(piece, content, left);
        left = cut === piece.length ? left - cut : 0;
        const text = content.repeat(held) + piece.slice(cut);
        held = countAtEnd(text, content, stop);
        next.push(text.slice(0, text.length - held), verbatim);
      },
      end: () => next.end(),
    };
  };
}

function byteToken(token: string): ByteToken {
  const bytes = bytesOfToken(token);
  const stream = new Utf8Stream();
  const text = stream.push(bytes);
  return { bytes, text: stream.isClean ? text : undefined };
}

function byteOfFallback(piece: string): number | undefined {
  const match = piece.length === 6 ? /^<0x([0-9A-Fa-f]{2})>$/.exec(piece) : null;
  return match ? Number.parseInt(match[1]!, 16) : undefined;
}

function countAtStart(text: string, character: string, most: number): number {
  let count = 0;
  while (count < most && text[count] === character) count++;
  return count;
}

function countAtEnd(text: string, character: string, most: number): number {
  let count = 0;
  while (count < most && text.length > count && text[text.length - 1 - count] === character) count++;
  return count;
}
