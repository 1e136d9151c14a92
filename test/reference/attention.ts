/** What the kinds of attention have in common. */
import { dot, softmax, type Vector, weightedSum } from './vectors.ts';

/** Decisions that a forward pass takes at one position, and how narrow they were. */
export interface Decisions {
  /** Smallest distance between something chosen and something not chosen. */
  margin: number;
  /** By layer: key positions that an indexer selected, ascending. */
  readonly selections: Map<number, readonly number[]>;
  /** By layer: experts and what multiplies their outputs, largest weight first. */
  readonly routings: Map<number, { readonly experts: readonly number[]; readonly weights: readonly number[] }>;
}

/**
 * One layer's attention. It remembers what later positions need of earlier ones; a position that is computed again replaces
 * what it left, so a caller may go back to any position.
 */
export interface Attention {
  at(position: number, x: Vector, decisions: Decisions): Vector;
}

/** Attention of one head over the keys given. `sink`: a logit that takes its share of the weight and gives nothing. */
export function attend(
  query: Vector,
  keys: readonly Vector[],
  values: readonly Vector[],
  scale: number,
  sink?: number,
): Vector {
  const scores = keys.map((key) => dot(query, key) * scale);
  const weights = softmax(Float64Array.from(sink === undefined ? scores : [...scores, sink]));
  return weightedSum(weights, values);
}
