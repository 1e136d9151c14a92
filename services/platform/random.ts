/** The only place that draws randomness. Cores take a RandomSource as an argument, so that tests own it. */
import { randomBytes } from 'node:crypto';

export interface RandomSource {
  bytes(count: number): Uint8Array;
  /** A short unique id: 64 random bits as 16 hex digits. */
  id(): string;
}

export const systemRandom: RandomSource = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  id: () => randomBytes(8).toString('hex'),
};
