/**
 * The k best tokens of a row, in the one order that everything here uses: higher logit first, lower id on a tie. One pass
 * with a heap of k; most logits cost one comparison. A token is kept as a single number that sorts in that order, so that
 * heap and sort compare plain doubles.
 */
import { assert } from '#platform/assert.ts';

/** Ids take 21 of a double's 53 exact bits, the logit's float32 bits take 32. */
export const maxVocabulary = 2 ** 21;

const floatView = new Float32Array(1);
const bitsView = new Uint32Array(floatView.buffer);

/** Smaller is better. */
export function rankKey(logit: number, token: number): number {
  // Adding 0 turns -0 into +0, which compares equal and so must have the same bits.
  floatView[0] = logit + 0;
  const bits = bitsView[0]!;
  const descending = bits >= 0x80000000 ? bits : 0x7fffffff - bits;
  return descending * maxVocabulary + token;
}

export function tokenOf(key: number): number {
  return key % maxVocabulary;
}

export class BestTokens {
  /** The first `count` keys of the last select(), best first. */
  readonly keys: Float64Array;
  #count = 0;

  constructor(vocabularySize: number) {
    assert(vocabularySize <= maxVocabulary, `vocabulary of ${vocabularySize}, at most ${maxVocabulary} can be ranked`);
    this.keys = new Float64Array(vocabularySize);
  }

  /** Finds the k best of logits [vocabulary], those of minus infinity never among them. Returns how many there are. */
  select(logits: Float32Array, k: number): number {
    this.#count = 0;
    let token = 0;
    for (; token < logits.length && this.#count < k; token++) {
      const logit = logits[token]!;
      if (logit > -Infinity) this.#push(rankKey(logit, token));
    }
    let worst = this.#count === 0 ? Infinity : logits[tokenOf(this.keys[0]!)]!;
    for (; token < logits.length; token++) {
      const logit = logits[token]!;
      // Ids rise, so a tie with the worst of the best never displaces it.
      if (logit > worst) {
        this.#sink(0, rankKey(logit, token));
        worst = logits[tokenOf(this.keys[0]!)]!;
      }
    }
    this.keys.subarray(0, this.#count).sort();
    return this.#count;
  }

  token(index: number): number {
    return tokenOf(this.keys[index]!);
  }

  /** keys[0 .. count-1] is a heap with the worst token at the root. */
  #push(key: number): void {
    let child = this.#count++;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (this.keys[parent]! >= key) break;
      this.keys[child] = this.keys[parent]!;
      child = parent;
    }
    this.keys[child] = key;
  }

  #sink(root: number, key: number): void {
    let parent = root;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= this.#count) break;
      if (child + 1 < this.#count && this.keys[child + 1]! > this.keys[child]!) child++;
      if (this.keys[child]! <= key) break;
      this.keys[parent] = this.keys[child]!;
      parent = child;
    }
    this.keys[parent] = key;
  }
}
