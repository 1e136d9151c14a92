import fc from 'fast-check';
import { expect, test } from 'vitest';
import { StopMatcher, StopStrings } from './stop-matcher.ts';

/** Feeds the pieces; what was shown, what is held, and whether it matched. */
function run(stops: readonly string[], pieces: readonly string[]) {
  const matcher = new StopMatcher(new StopStrings(stops));
  let shown = '';
  for (const piece of pieces) {
    const { text, matched } = matcher.push(piece);
    shown += text;
    if (matched) return { shown, matched, held: '' };
  }
  return { shown, matched: false, held: matcher.flush() };
}

/** The same by looking at the whole text: the match that ends first, the longest of those. */
function search(stops: readonly string[], text: string): { start: number; end: number } | undefined {
  for (let end = 1; end <= text.length; end++) {
    const ending = stops.filter((stop) => text.slice(0, end).endsWith(stop));
    if (ending.length > 0) return { start: end - Math.max(...ending.map(({ length }) => length)), end };
  }
  return undefined;
}

const alphabet = fc.constantFrom('a', 'b', 'ä', '😀', '\n');
const word = (minLength: number, maxLength: number) => fc.string({ unit: alphabet, minLength, maxLength });

test('text ends before the match, wherever the pieces are cut', () => {
  fc.assert(
    fc.property(fc.array(word(1, 4), { minLength: 1, maxLength: 16 }), fc.array(word(0, 5)), (stops, pieces) => {
      const text = pieces.join('');
      const match = search(stops, text);
      const { shown, matched, held } = run(stops, pieces);
      expect(matched).toBe(match !== undefined);
      expect(shown + held).toBe(match ? text.slice(0, match.start) : text);
    }),
    { numRuns: 2000 },
  );
});

test('only what may be the beginning of a match is held back', () => {
  fc.assert(
    fc.property(fc.array(word(1, 4), { minLength: 1, maxLength: 4 }), word(0, 12), (stops, text) => {
      fc.pre(search(stops, text) === undefined);
      const beginnings = stops.flatMap((stop) => Array.from({ length: stop.length }, (_, i) => stop.slice(0, i)));
      const longest = Math.max(0, ...beginnings.filter((start) => text.endsWith(start)).map(({ length }) => length));
      expect(run(stops, [text]).held).toHaveLength(longest);
    }),
    { numRuns: 2000 },
  );
});

test('a held beginning that leads nowhere comes out with what follows', () => {
  expect(run(['END'], ['so E', 'N', 'O']).shown).toBe('so ENO');
  expect(run(['END'], ['so E', 'N', 'D and more'])).toEqual({ shown: 'so ', matched: true, held: '' });
  expect(run(['abcd', 'bc'], ['abc'])).toEqual({ shown: 'a', matched: true, held: '' });
});
