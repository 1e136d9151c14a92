import { expect, test } from 'vitest';
import { philox4x32, uniformAt, type Words2, type Words4 } from './philox.ts';

// kat_vectors of the authors' Random123 library, lines "philox4x32 10".
const knownAnswers: readonly { counter: Words4; key: Words2; output: Words4 }[] = [
  {
    counter: [0, 0, 0, 0],
    key: [0, 0],
    output: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    output: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    output: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

test('the published answers come out', () => {
  for (const { counter, key, output } of knownAnswers) expect(philox4x32(counter, key)).toEqual(output);
});

test('a uniform number is made of the first two words, the first one on top', () => {
  expect(uniformAt(0n, 0, 0)).toBe((0x6627e8d5 * 2 ** 20 + (0xe169c58d >>> 12) + 0.5) / 2 ** 52);
});

test('seed, choice and position each change the number, in all of their bits', () => {
  const numbers = [
    uniformAt(7n, 0, 0),
    uniformAt(7n + (1n << 32n), 0, 0),
    uniformAt(7n + (1n << 63n), 0, 0),
    uniformAt(8n, 0, 0),
    uniformAt(7n, 1, 0),
    uniformAt(7n, 0, 1),
    uniformAt(7n, 0, 65_536),
  ];
  expect(new Set(numbers).size).toBe(numbers.length);
});

test('uniform numbers fill the open interval evenly', () => {
  const bins = new Array<number>(64).fill(0);
  const draws = 64_000;
  for (let position = 0; position < draws; position++) {
    const u = uniformAt(42n, 3, position);
    if (!(u > 0 && u < 1)) throw new Error(`${u} at position ${position}`);
    bins[Math.floor(u * 64)]!++;
  }
  const expected = draws / 64;
  const chiSquare = bins.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  // 63 degrees of freedom: 103.4 is exceeded once in a thousand.
  expect(chiSquare).toBeLessThan(103.4);
});
