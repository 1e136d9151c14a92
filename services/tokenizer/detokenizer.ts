/** Token ids to text, one by one, for one stream. */
import type { Stage, StageMaker } from './decode-stages.ts';

export interface Detokenizer {
  /** The text that this token completes: empty while half a character is held back. */
  push(id: number): string;
  /** What is still held. Call once, after the last token. */
  end(): string;
}

/** What a token is to a decoder; undefined for ids that the vocabulary leaves out and for tokens that make no text. */
export type TokenLookup = (id: number) => TokenPiece | undefined;

export interface TokenPiece {
  readonly content: string;
  /** An added token, whose content is text as it stands. */
  readonly verbatim: boolean;
}

/** continues: the stream goes on a prompt that is text, so that a leading space counts. */
export function createDetokenizer(lookUp: TokenLookup, decoder: StageMaker, continues: boolean): Detokenizer {
  let text = '';
  const collector: Stage = {
    push(piece) {
      text += piece;
    },
    end() {},
  };
  const first = decoder(collector, { continues });
  const take = (): string => {
    const taken = text;
    text = '';
    return taken;
  };
  return {
    push(id) {
      const piece = lookUp(id);
      if (!piece) return '';
      first.push(piece.content, piece.verbatim);
      return take();
    },
    end() {
      first.end();
      return take();
    },
  };
}
