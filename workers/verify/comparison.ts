/** Holds what a model computed against a golden, and names the first layer that departs. */
import type { Golden, Routing } from './golden.ts';

export interface ScenarioReport {
  readonly scenario: string;
  readonly passed: boolean;
  /** Largest difference of a logit, in standard deviations of the golden's logits. */
  readonly logitError: number;
  /** Prompt positions whose best token is another one. */
  readonly argmaxDepartures: readonly number[];
  readonly continuationEqual: boolean;
  /** The first layer whose routing or residual stream departs at the last position. */
  readonly firstDeparture: Departure | undefined;
}

export interface Departure {
  readonly layer: number;
  readonly what: 'routing' | 'hidden';
  /** Largest difference, in root mean squares of the golden's vector; for routing the difference of a weight. */
  readonly error: number;
}

export class Comparison {
  readonly #golden: Golden;
  readonly #tolerance: number;
  readonly #argmaxDepartures: number[] = [];
  #logitError = 0;
  #continuationEqual = false;
  #firstDeparture: Departure | undefined;
  #firstToken = 0;

  constructor(golden: Golden, tolerance: number) {
    this.#golden = golden;
    this.#tolerance = tolerance;
  }

  /** The best token after the prompt. */
  get firstToken(): number {
    return this.#firstToken;
  }

  /** A row of logits [vocabulary] of a prompt position. */
  logits(position: number, row: Float32Array): void {
    const best = indexOfLargest(row);
    if (best !== this.#golden.argmax[position]) this.#argmaxDepartures.push(position);
    if (position === this.#golden.prompt.length - 1) this.#firstToken = best;
    const expected = this.#golden.logits.get(position);
    if (!expected) return;
    const error = row.length === expected.length ? largestDifference(row, expected) : Number.POSITIVE_INFINITY;
    this.#logitError = worse(this.#logitError, error / this.#golden.logitsStd);
  }

  /** Residual stream after each layer and routing by layer, both at the prompt's last position. */
  inside(hidden: readonly Float32Array[], routing: ReadonlyMap<number, Routing>): void {
    for (const [layer, expected] of this.#golden.hiddenLast.entries()) {
      const routingError = differenceOfRouting(routing.get(layer), this.#golden.routingLast.get(layer));
      if (!(routingError <= this.#tolerance)) return this.#depart({ layer, what: 'routing', error: routingError });
      const error = largestDifference(hidden[layer] ?? [], expected) / rootMeanSquare(expected);
      if (!(error <= this.#tolerance)) return this.#depart({ layer, what: 'hidden', error });
    }
  }

  continuation(tokens: readonly number[]): void {
    this.#continuationEqual = tokens.every((token, i) => token === this.#golden.continuation[i]);
  }

  report(scenario: string): ScenarioReport {
    const { length } = this.#argmaxDepartures;
    return {
      scenario,
      passed: this.#logitError <= this.#tolerance && length === 0 && this.#continuationEqual,
      logitError: this.#logitError,
      argmaxDepartures: this.#argmaxDepartures,
      continuationEqual: this.#continuationEqual,
      firstDeparture: this.#firstDeparture,
    };
  }

  #depart(departure: Departure): void {
    this.#firstDeparture = departure;
  }
}

function indexOfLargest(row: Float32Array): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if (row[i]! > row[best]!) best = i;
  return best;
}

/** NaN counts as infinitely far, and so does a missing value. */
function largestDifference(values: ArrayLike<number>, expected: readonly number[]): number {
  let largest = 0;
  for (const [i, value] of expected.entries()) largest = worse(largest, Math.abs((values[i] ?? Number.NaN) - value));
  return largest;
}

function worse(a: number, b: number): number {
  return Number.isNaN(b) ? Number.POSITIVE_INFINITY : Math.max(a, b);
}

function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length) || 1;
}

function differenceOfRouting(actual: Routing | undefined, expected: Routing | undefined): number {
  if (!expected) return 0;
  if (actual?.experts.length !== expected.experts.length) return Number.POSITIVE_INFINITY;
  const weightOf = new Map(actual.experts.map((expert, i) => [expert, actual.weights[i]!]));
  return expected.experts.reduce(
    (largest, expert, i) => worse(largest, Math.abs((weightOf.get(expert) ?? Number.NaN) - expected.weights[i]!)),
    0,
  );
}
