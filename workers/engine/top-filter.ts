/**
 * Which tokens may be drawn, and how likely each is. min_p, top_k and top_p each keep the head of one and the same order
 * (best-tokens.ts), so what is left is a head of it too. No full sort: top_k is a heap, min_p a comparison, and top_p
 * sorts only the narrow band of probabilities where its border lies.
 *
 * top_p is nucleus sampling (Holtzman et al., https://arxiv.org/abs/1904.09751), min_p is from Nguyen et al.,
 * https://arxiv.org/abs/2407.01082. As in vLLM, min_p looks at the whole distribution, and top_p at what min_p and top_k
 * left, normalised again. Unlike vLLM, which keeps every token that ties with the k-th, top_k keeps exactly k.
 */
import { type BestTokens, rankKey, tokenOf } from './best-tokens.ts';
import { expMinus } from './exponential.ts';
import type { SamplingSettings } from './sampling-settings.ts';

/** Bands of 1/32 nat below the best token; the last one takes whatever is further down. */
const bands = 1024;
const bandsPerNat = 32;

export class TopFilter {
  /** Tokens that are left, ids rising, and their weights relative to the best token's: the first `count`. */
  readonly ids: Int32Array;
  readonly weights: Float64Array;
  count = 0;
  /** Sum of the weights, added in order. */
  total = 0;

  readonly #best: BestTokens;
  readonly #band: Uint16Array;
  readonly #bandMass = new Float64Array(bands);
  readonly #bandKeys: Float64Array;
  #top = 0;
  #inverseTemperature = 1;

  constructor(vocabularySize: number, best: BestTokens) {
    this.ids = new Int32Array(vocabularySize);
    this.weights = new Float64Array(vocabularySize);
    this.#band = new Uint16Array(vocabularySize);
    this.#bandKeys = new Float64Array(vocabularySize);
    this.#best = best;
  }

  /** Fills ids, weights, count and total from logits [vocabulary], whose largest is `top`. A temperature of 0 is not for here. */
  apply(logits: Float32Array, top: number, settings: SamplingSettings): void {
    const { temperature, topK, topP, minP } = settings;
    this.#top = top;
    this.#inverseTemperature = 1 / temperature;
    // ln(0) is minus infinity: without min_p every finite logit passes.
    const floor = Math.max(top + temperature * Math.log(minP), -Number.MAX_VALUE);
    if (topK > 0 && topK < logits.length) this.#keepBest(logits, topK, floor);
    else this.#keepFrom(logits, floor);
    this.#weigh(logits);
    if (topP < 1) this.#keepMass(logits, topP * this.total);
  }

  /** The token at a share u in (0, 1) of the total weight. */
  draw(u: number): number {
    const { ids, weights } = this;
    const target = u * this.total;
    const last = this.count - 1;
    let sum = 0;
    let index = 0;
    for (; index < last; index++) {
      sum += weights[index]!;
      if (sum > target) break;
    }
    return ids[index]!;
  }

  #keepBest(logits: Float32Array, k: number, floor: number): void {
    const found = this.#best.select(logits, k);
    this.count = 0;
    for (let index = 0; index < found; index++) {
      const token = this.#best.token(index);
      if (logits[token]! >= floor) this.ids[this.count++] = token;
    }
    this.ids.subarray(0, this.count).sort();
  }

  #keepFrom(logits: Float32Array, floor: number): void {
    let count = 0;
    const { ids } = this;
    for (let token = 0; token < logits.length; token++) {
      if (logits[token]! >= floor) ids[count++] = token;
    }
    this.count = count;
  }

  #weigh(logits: Float32Array): void {
    const { ids, weights, count } = this;
    const [top, inverse] = [this.#top, this.#inverseTemperature];
    let total = 0;
    for (let index = 0; index < count; index++) {
      const weight = expMinus((top - logits[ids[index]!]!) * inverse);
      weights[index] = weight;
      total += weight;
    }
    this.total = total;
  }

  /** Keeps the fewest best tokens whose weights reach `target`. */
  #keepMass(logits: Float32Array, target: number): void {
    this.#sortIntoBands(logits);
    let band = 0;
    let mass = 0;
    while (band < bands - 1 && mass + this.#bandMass[band]! < target) mass += this.#bandMass[band++]!;
    const last = this.#lastKept(logits, band, target - mass);
    this.#dropBehind(logits, band, last);
  }

  #dropBehind(logits: Float32Array, band: number, last: number): void {
    const { ids, weights, count } = this;
    const bandOf = this.#band;
    this.count = 0;
    this.total = 0;
    for (let index = 0; index < count; index++) {
      const ahead = band - bandOf[index]!;
      if (ahead < 0) continue;
      const token = ids[index]!;
      if (ahead === 0 && rankKey(logits[token]!, token) > last) continue;
      ids[this.count] = token;
      weights[this.count++] = weights[index]!;
      this.total += weights[index]!;
    }
  }

  /** The key of the token of a band at which the band's weights, best first, reach a mass. */
  #lastKept(logits: Float32Array, band: number, mass: number): number {
    const { ids, count } = this;
    const bandOf = this.#band;
    let members = 0;
    for (let index = 0; index < count; index++) {
      if (bandOf[index] !== band) continue;
      const token = ids[index]!;
      this.#bandKeys[members++] = rankKey(logits[token]!, token);
    }
    const keys = this.#bandKeys.subarray(0, members).sort();
    let sum = 0;
    for (const key of keys) {
      sum += expMinus((this.#top - logits[tokenOf(key)]!) * this.#inverseTemperature);
      if (sum >= mass) return key;
    }
    // Rounding alone can leave the sum short of the mass: then the whole band stays.
    return Infinity;
  }

  /** A weight is e to the minus the nats that a token is below the best one, at the temperature in force. */
  #sortIntoBands(logits: Float32Array): void {
    const { ids, weights, count } = this;
    const [bandOf, mass] = [this.#band, this.#bandMass];
    const [top, bandsPerLogit] = [this.#top, this.#inverseTemperature * bandsPerNat];
    mass.fill(0);
    for (let index = 0; index < count; index++) {
      const band = Math.min(bands - 1, (top - logits[ids[index]!]!) * bandsPerLogit) | 0;
      bandOf[index] = band;
      mass[band]! += weights[index]!;
    }
  }
}
