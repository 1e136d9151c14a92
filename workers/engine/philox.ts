/**
 * Randomness without a state: the number for a position is computed from the seed, the choice and the position alone, so a
 * stream goes on anywhere exactly as it would have gone on here. Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel
 * Random Numbers: As Easy as 1, 2, 3", SC '11, https://doi.org/10.1145/2063384.2063405.
 */

export type Words2 = readonly [number, number];
export type Words4 = readonly [number, number, number, number];

const rounds = 10;
const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const keyStep0 = 0x9e3779b9;
const keyStep1 = 0xbb67ae85;

/** Philox4x32-10: four unsigned 32-bit words from a counter of four and a key of two. */
export function philox4x32(counter: Words4, key: Words2): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < rounds; round++) {
    const high0 = multiplyHigh(multiplier0, c0);
    const low0 = Math.imul(multiplier0, c0);
    const high1 = multiplyHigh(multiplier1, c2);
    const low1 = Math.imul(multiplier1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + keyStep0) >>> 0;
    k1 = (k1 + keyStep1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/**
 * A number in (0, 1), never either end, for the token at a position of a choice; position counts generated tokens from 0.
 * Of two output words 52 bits are used: with a half added, each is exact in a double.
 */
export function uniformAt(seed: bigint, choice: number, position: number): number {
  const key: Words2 = [Number(seed & 0xffffffffn), Number(seed >> 32n)];
  const [high, low] = philox4x32([position, choice, 0, 0], key);
  return (high * 2 ** 20 + (low >>> 12) + 0.5) / 2 ** 52;
}

/** Upper 32 bits of the product of two unsigned 32-bit words, by halves: a double holds only 53 bits. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + (middle >>> 16) + (carry >>> 16);
}
