/** Which experts a row goes to, and how much each counts. */
import { assert } from '#platform/assert.ts';
import type { ExpertsSpec, GroupsSpec } from './spec.ts';

/** Both are [rows, chosen], and may be longer; a row's experts ascend. */
export interface ExpertChoice {
  readonly experts: Int32Array;
  /** As they multiply the experts' outputs. */
  readonly weights: Float32Array;
}

/** For the experts of one layer. Of equal scores the lower index wins. */
export class ExpertChooser {
  readonly #spec: ExpertsSpec;
  readonly #correction: Float32Array | undefined;
  /** Of one row: what experts are chosen by. */
  readonly #ranking: Float64Array;
  readonly #groups: GroupMask | undefined;
  /** Of one row: weights before they are divided. */
  readonly #terms: Float64Array;

  /** `correction` [experts] where the routing has one. */
  constructor(spec: ExpertsSpec, correction?: Float32Array) {
    const { experts, chosen, routing } = spec;
    assert(chosen <= experts, 'no more experts are chosen than there are');
    assert(routing.correction === (correction !== undefined), 'a correction comes with the routing that asks for it');
    this.#spec = spec;
    this.#correction = correction;
    this.#ranking = new Float64Array(experts);
    this.#terms = new Float64Array(chosen);
    this.#groups = routing.groups ? new GroupMask(experts, routing.groups) : undefined;
  }

  /** `logits` are [rows, experts]. */
  choose(logits: Float32Array, rows: number, choice: ExpertChoice): void {
    const { experts, chosen } = this.#spec;
    for (let row = 0; row < rows; row++) {
      this.#rank(logits, row * experts);
      chooseBest(this.#ranking, chosen, choice.experts, row * chosen);
      sortAscending(choice.experts, row * chosen, chosen);
      this.#weigh(logits, row * experts, choice, row * chosen);
    }
  }

  /** Without corrections and groups the logits themselves have the order of the scores. */
  #rank(logits: Float32Array, at: number): void {
    const ranking = this.#ranking;
    for (let i = 0; i < ranking.length; i++) ranking[i] = logits[at + i]!;
    if (!this.#correction && !this.#groups) return;
    if (this.#spec.routing.score === 'sigmoid') toSigmoid(ranking);
    else toSoftmax(ranking);
    if (this.#correction) for (let i = 0; i < ranking.length; i++) ranking[i] = ranking[i]! + this.#correction[i]!;
    this.#groups?.apply(ranking);
  }

  #weigh(logits: Float32Array, at: number, { experts, weights }: ExpertChoice, to: number): void {
    const { chosen, routing } = this.#spec;
    const logitOf = (i: number): number => logits[at + experts[to + i]!]!;
    const terms = this.#terms;
    if (routing.score === 'sigmoid') for (let i = 0; i < chosen; i++) terms[i] = 1 / (1 + Math.exp(-logitOf(i)));
    else {
      // Normalised, the terms of the others cancel out, and the largest of the chosen must not vanish.
      const base = routing.normalise ? largestOf(chosen, logitOf) : largest(logits, at, this.#spec.experts);
      for (let i = 0; i < chosen; i++) terms[i] = Math.exp(logitOf(i) - base);
      if (!routing.normalise) return this.#share(logits, at, base, weights, to);
    }
    let sum = routing.normalise ? leastSum : 1;
    if (routing.normalise) for (let i = 0; i < chosen; i++) sum += terms[i]!;
    for (let i = 0; i < chosen; i++) weights[to + i] = (terms[i]! / sum) * routing.scale;
  }

  /** Softmax over all experts. */
  #share(logits: Float32Array, at: number, base: number, weights: Float32Array, to: number): void {
    let sum = 0;
    for (let i = 0; i < this.#spec.experts; i++) sum += Math.exp(logits[at + i]! - base);
    const { chosen, routing } = this.#spec;
    for (let i = 0; i < chosen; i++) weights[to + i] = (this.#terms[i]! / sum) * routing.scale;
  }
}

/** What the families add to a sum before they divide by it. */
const leastSum = 1e-20;

/** Takes experts outside the best groups out of a ranking. */
class GroupMask {
  readonly #spec: GroupsSpec;
  readonly #size: number;
  readonly #ranking: Float64Array;
  readonly #best: Int32Array;

  constructor(experts: number, spec: GroupsSpec) {
    assert(experts % spec.count === 0, 'groups are equally large');
    this.#spec = spec;
    this.#size = experts / spec.count;
    this.#ranking = new Float64Array(spec.count);
    this.#best = new Int32Array(spec.chosen);
  }

  apply(ranking: Float64Array): void {
    for (let group = 0; group < this.#spec.count; group++) this.#ranking[group] = this.#judge(ranking, group);
    chooseBest(this.#ranking, this.#spec.chosen, this.#best, 0);
    for (let group = 0; group < this.#spec.count; group++) {
      if (this.#best.includes(group)) continue;
      ranking.fill(Number.NEGATIVE_INFINITY, group * this.#size, (group + 1) * this.#size);
    }
  }

  #judge(ranking: Float64Array, group: number): number {
    let [first, second] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let i = group * this.#size; i < (group + 1) * this.#size; i++) {
      const score = ranking[i]!;
      second = Math.max(second, Math.min(first, score));
      first = Math.max(first, score);
    }
    return this.#spec.by === 'best' ? first : first + second;
  }
}

function toSigmoid(values: Float64Array): void {
  for (let i = 0; i < values.length; i++) values[i] = 1 / (1 + Math.exp(-values[i]!));
}

function toSoftmax(values: Float64Array): void {
  const base = largest(values, 0, values.length);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    values[i] = Math.exp(values[i]! - base);
    sum += values[i]!;
  }
  for (let i = 0; i < values.length; i++) values[i] = values[i]! / sum;
}

function largest(values: Float32Array | Float64Array, at: number, count: number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let i = at; i < at + count; i++) best = Math.max(best, values[i]!);
  return best;
}

function largestOf(count: number, at: (i: number) => number): number {
  let best = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < count; i++) best = Math.max(best, at(i));
  return best;
}

/** Writes the indices of the `count` best scores, in order of falling score. */
function chooseBest(scores: Float64Array, count: number, best: Int32Array, at: number): void {
  for (let i = 0; i < scores.length; i++) {
    const score = scores[i]!;
    let place = Math.min(i, count);
    while (place > 0 && score > scores[best[at + place - 1]!]!) {
      if (place < count) best[at + place] = best[at + place - 1]!;
      place--;
    }
    if (place < count) best[at + place] = i;
  }
}

function sortAscending(experts: Int32Array, at: number, count: number): void {
  for (let i = 1; i < count; i++) {
    const expert = experts[at + i]!;
    let place = i;
    while (place > 0 && experts[at + place - 1]! > expert) {
      experts[at + place] = experts[at + place - 1]!;
      place--;
    }
    experts[at + place] = expert;
  }
}
