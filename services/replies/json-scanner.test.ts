import fc from 'fast-check';
import { expect, test } from 'vitest';
import { JsonScanner, maxJsonDepth } from './json-scanner.ts';

/** Feeds the pieces until the value is done or broken. */
function scan(...pieces: string[]): { state: string; taken: string; output: string } {
  const scanner = new JsonScanner();
  let taken = '';
  let output = '';
  for (const piece of pieces) {
    const length = scanner.scan(piece);
    taken += piece.slice(0, length);
    output += scanner.output;
    if (scanner.state !== 'open') break;
  }
  scanner.end();
  return { state: scanner.state, taken, output };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('a value ends where it is whole, whatever follows, wherever it is cut', () => {
  const spaced = fc.tuple(fc.jsonValue(), fc.constantFrom(0, 1, '\t'));
  fc.assert(
    fc.property(spaced, fc.constantFrom('', ' ', '}', ']x', ',"', '<'), fc.nat(200), ([value, indent], rest, at) => {
      const json = JSON.stringify(value, undefined, indent);
      // What follows a number has to show that it is over.
      const text = json + (typeof value === 'number' ? ` ${rest}` : rest);
      const whole = scan(text);
      expect(whole).toEqual({ state: 'done', taken: json, output: json });
      expect(scan(text.slice(0, at), text.slice(at))).toEqual(whole);
      expect(scan(...text)).toEqual(whole);
    }),
    { numRuns: 1000 },
  );
});

test('of any text it is done with what is JSON, and broken or open with everything else', () => {
  const piece = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    'u00',
    'a',
    'n',
    'true',
    'null',
    '-',
    '0',
    '1.5',
    'e3',
    ' ',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (parts) => {
      const text = parts.join('');
      const { state, taken } = scan(text);
      if (state === 'done') expect(isJson(taken)).toBe(true);
      expect(isJson(text) && text.trim() !== '').toBe(state === 'done' && text.slice(taken.length).trim() === '');
    }),
    { numRuns: 5000 },
  );
});

test.for([
  ['{"a":}', '{"a":'],
  ["{'a': 1}", '{'],
  ['{"a": 1,}', '{"a": 1,'],
  ['[1,]', '[1,'],
  ['{"a" 1}', '{"a" '],
  ['{"a": tru }', '{"a": tru'],
  ['{"a": 01}', '{"a": 01'],
  ['{"a": 1 2}', '{"a": 1 '],
  ['"\\x"', '"\\'],
  ['"\\u12g4"', '"\\u12'],
  ['{]', '{'],
  ['{"a"}', '{"a"'],
] as const)('%s is broken behind %s', ([text, taken]) => {
  expect(scan(text)).toEqual({ state: 'broken', taken, output: taken });
  expect(scan(...text)).toEqual(scan(text));
});

test('a line break inside a text is passed on as JSON wants it', () => {
  expect(scan('{"a\n": "b\tc', '\u0000\n"}\n')).toEqual({
    ...{ state: 'done', taken: '{"a\n": "b\tc\u0000\n"}' },
    output: '{"a\\n": "b\\tc\\u0000\\n"}',
  });
  expect(scan('{\n"a":\t1}').output).toBe('{\n"a":\t1}');
});

test('only so many values lie inside each other', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  expect(scan(nested(maxJsonDepth)).state).toBe('done');
  expect(scan(nested(maxJsonDepth + 1)).state).toBe('broken');
});
