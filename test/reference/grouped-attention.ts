/** Attention whose query heads share key and value heads in groups (Ainslie et al. 2023, arXiv 2305.13245). */
import { type Attention, attend } from './attention.ts';
import type { Rotary } from './rotary.ts';
import { concatenate, cutEvenly, multiply, sigmoid, type Vector } from './vectors.ts';
import type { Weights } from './weights.ts';

export interface GroupedSettings {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly rotary: Rotary;
  /** Applied to every head of queries and keys, or to all of them as one vector; each takes the tensor's name. */
  readonly normBefore?: { readonly over: 'head' | 'whole'; readonly norm: QueryKeyNorm };
  readonly normAfter?: QueryKeyNorm;
  /** A key is visible when it is fewer than so many positions back, the own position included. */
  readonly window?: number;
  /** Rows of a gate follow each head's rows of queries. */
  readonly gated: boolean;
}

export type QueryKeyNorm = (which: 'query' | 'key', x: Vector) => Vector;

export class GroupedAttention implements Attention {
  readonly #weights: Weights;
  readonly #settings: GroupedSettings;
  /** By position, then by head. */
  readonly #keys: Vector[][] = [];
  readonly #values: Vector[][] = [];

  constructor(weights: Weights, settings: GroupedSettings) {
    this.#weights = weights;
    this.#settings = settings;
  }

  at(position: number, x: Vector): Vector {
    const { heads, kvHeads, gated, window = position + 1 } = this.#settings;
    const rows = cutEvenly(this.#weights.linear('q_proj', x), heads);
    const halves = gated ? rows.map((row) => cutEvenly(row, 2)) : rows.map((row) => [row]);
    const queries = this.#prepare(
      'query',
      halves.map(([query]) => query!),
      position,
    );
    this.#keys[position] = this.#prepare('key', cutEvenly(this.#weights.linear('k_proj', x), kvHeads), position);
    this.#values[position] = cutEvenly(this.#weights.linear('v_proj', x), kvHeads);
    const first = Math.max(0, position - window + 1);
    const outputs = queries.map((query, head) => {
      const output = this.#attend(query, head, first, position);
      const gate = halves[head]![1];
      return gate ? multiply(output, gate.map(sigmoid)) : output;
    });
    return this.#weights.linear('o_proj', concatenate(...outputs));
  }

  #attend(query: Vector, head: number, first: number, last: number): Vector {
    const { heads, kvHeads, headDim } = this.#settings;
    const kvHead = Math.floor(head / (heads / kvHeads));
    const ofHead = (kept: readonly Vector[][]): Vector[] => kept.slice(first, last + 1).map((all) => all[kvHead]!);
    const sink = this.#weights.has('sinks') ? this.#weights.vector('sinks')[head] : undefined;
    return attend(query, ofHead(this.#keys), ofHead(this.#values), headDim ** -0.5, sink);
  }

  /** Norms and rotation of queries or keys. */
  #prepare(which: 'query' | 'key', heads: readonly Vector[], position: number): Vector[] {
    const { normBefore, normAfter, rotary } = this.#settings;
    return this.#normBefore(which, heads, normBefore)
      .map((head) => rotary.turn(head, position))
      .map((head) => (normAfter ? normAfter(which, head) : head));
  }

  #normBefore(
    which: 'query' | 'key',
    heads: readonly Vector[],
    settings: GroupedSettings['normBefore'],
  ): readonly Vector[] {
    if (!settings) return heads;
    const { over, norm } = settings;
    if (over === 'head') return heads.map((head) => norm(which, head));
    return cutEvenly(norm(which, concatenate(...heads)), heads.length);
  }
}
