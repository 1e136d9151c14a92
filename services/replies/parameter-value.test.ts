import { expect, test } from 'vitest';
import { jsonOfLiteral } from './parameter-value.ts';
import { typesOf } from './schema-types.ts';

const root = {
  $defs: { place: { type: 'object' }, loop: { $ref: '#/$defs/loop' }, 'any place': { $ref: '#/$defs/place' } },
};

test.for<[unknown, string[] | undefined]>([
  [{ type: 'string' }, ['string']],
  [{ type: ['string', 'null'] }, ['string', 'null']],
  [{ enum: ['a', 1, null] }, ['string', 'number', 'null']],
  [{ const: [1] }, ['array']],
  [{ anyOf: [{ type: 'integer' }, { $ref: '#/$defs/place' }] }, ['integer', 'object']],
  [{ oneOf: [{ type: 'integer' }, {}] }, undefined],
  [{ $ref: '#/$defs/any place' }, ['object']],
  [{ $ref: '#/$defs/loop' }, undefined],
  [{ $ref: 'https://example.org/schema' }, undefined],
  [{ properties: {} }, ['object']],
  [{ items: {} }, ['array']],
  [{ description: 'anything' }, undefined],
  [true, undefined],
  [undefined, undefined],
])('the schema %j allows %j', ([schema, types]) => {
  expect(typesOf(schema, root)).toEqual(types && new Set(types));
});

test.for<[string, string[] | undefined, string]>([
  ['5', ['string'], '"5"'],
  ['5', ['integer'], '5'],
  [' 5.50\n', ['number'], '5.50'],
  ['True', ['boolean'], 'true'],
  ['true', ['boolean'], 'true'],
  ['None', ['null'], 'null'],
  ['None', ['string', 'null'], '"None"'],
  ['null', ['string', 'null'], 'null'],
  ['null', ['string'], '"null"'],
  ['5', ['string', 'integer'], '"5"'],
  ['[1]', ['string', 'array'], '[1]'],
  ['{"a": 1}', ['string', 'array'], '"{\\"a\\": 1}"'],
  ['{"a": 1}', ['object'], '{"a": 1}'],
  ['{a: 1}', ['object'], '"{a: 1}"'],
  ['5', undefined, '5'],
  ['"5"', undefined, '"\\"5\\""'],
  ['"5"', ['integer'], '"5"'],
  ['hello "you"\n', undefined, '"hello \\"you\\"\\n"'],
  ['12345678901234567890', ['integer'], '12345678901234567890'],
  ['', ['integer'], '""'],
])('the literal %j where %j is allowed is %s', ([literal, types, json]) => {
  expect(jsonOfLiteral(literal, types && new Set(types))).toBe(json);
});

test('a schema whose parts lead to each other many times over is read in no time', () => {
  const references = (name: string): unknown[] => Array(20).fill({ $ref: `#/$defs/${name}` });
  const layers = Array.from({ length: 30 }, (_, i): [string, unknown] => [`d${i}`, { anyOf: references(`d${i + 1}`) }]);
  const wide = { $defs: { ...Object.fromEntries(layers), d30: { type: 'integer' } } };
  expect(typesOf({ $ref: '#/$defs/d15' }, wide)).toEqual(new Set(['integer']));
  let nested: unknown = { type: 'integer' };
  for (let i = 0; i < 100_000; i++) nested = { anyOf: [nested] };
  expect(typesOf(nested, {})).toBeUndefined();
});
