import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseStrictJson } from './strict-json.ts';

const parse = (text: string): unknown => parseStrictJson(Buffer.from(text));

test('whatever JSON.stringify writes is read as JSON.parse reads it', () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom(undefined, 1), (text, indent) => {
      const written = JSON.stringify(JSON.parse(text), undefined, indent);
      expect(parse(written)).toEqual(JSON.parse(text));
    }),
    { seed: 3, numRuns: 500 },
  );
});

test.each([
  ['{"a":1,"b":{"a":2},"a":3}', 'a'],
  ['{"a":1,"\\u0061":2}', 'a'],
  ['[{"k":[]},{"x":{"k":1,"l":"k","k":2}}]', 'k'],
  ['{"a:b":":","a:b":"}"}', 'a:b'],
  ['{"\\"":1,"\\"":2}', '"'],
  ['{"__proto__":1,"__proto__":2}', '__proto__'],
])('%s repeats a key', (text, key) => {
  expect(() => parse(text)).toThrow(`the key ${JSON.stringify(key)} comes twice in one object`);
});

test('the same key in different objects, and in strings, is no repetition', () => {
  const text = '{"a":{"a":[{"a":1},{"a":2}]},"b":"\\"a\\":1,\\"a\\":2"}';
  expect(parse(text)).toEqual(JSON.parse(text));
});

test('bytes that are no UTF-8, and text that is no JSON, are named as such', () => {
  expect(() => parseStrictJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow('it is not UTF-8');
  expect(() => parse('{"a":')).toThrow(/JSON/);
  expect(() => parse('')).toThrow(/JSON/);
});

test('neither depth nor length of a document brings its reader down', () => {
  const depth = 200_000;
  expect(parse(`${'['.repeat(depth)}${']'.repeat(depth)}`)).toHaveLength(1);
  expect(parse(JSON.stringify({ a: '\\"'.repeat(4_000_000) }))).toHaveProperty('a');
});
