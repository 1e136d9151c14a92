/** Choices that follow from a seed and the order in which they are made. */
import { keyOf, word } from '../goldens/recipe.ts';

export class Random {
  readonly #key: number;
  #count = 0;

  /** `purpose` keeps apart the choices of one seed for several ends. */
  constructor(seed: number, purpose: string) {
    this.#key = keyOf(seed, purpose);
  }

  /** From `first` to `last`, both included. */
  int(first: number, last: number): number {
    const share = word(this.#key, this.#count++) * 2 ** -32;
    return first + Math.floor(share * (last - first + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.int(0, choices.length - 1)]!;
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.int(1, times) === 1;
  }

  /** A list of choices, one for each of `count`. */
  list<T>(count: number, choices: readonly T[]): T[] {
    return Array.from({ length: count }, () => this.pick(choices));
  }
}
