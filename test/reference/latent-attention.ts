/**
 * Multi-head latent attention in its expanded form (DeepSeek-V2, arXiv 2405.04434), and the selection of keys by an indexer
 * (DeepSeek-V3.2, arXiv 2512.02556).
 */
import { type Attention, attend, type Decisions } from './attention.ts';
import type { Rotary } from './rotary.ts';
import { bestFirst, marginOf } from './selection.ts';
import { concatenate, cut, cutEvenly, dot, layerNorm, type Vector } from './vectors.ts';
import type { Weights } from './weights.ts';

/** Of the norms of the latent vectors, whatever rms_norm_eps says. */
const latentEpsilon = 1e-6;

export interface LatentSettings {
  readonly layer: number;
  readonly heads: number;
  readonly latentRank: number;
  readonly nopeDim: number;
  readonly ropeDim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly rotary: Rotary;
  /** Its own, or that of an earlier layer whose selection this layer uses too; none where all keys are attended to. */
  readonly indexer: Indexer | undefined;
}

export class LatentAttention implements Attention {
  readonly #weights: Weights;
  readonly #settings: LatentSettings;
  /** By position, then by head. */
  readonly #keys: Vector[][] = [];
  readonly #values: Vector[][] = [];

  constructor(weights: Weights, settings: LatentSettings) {
    this.#weights = weights;
    this.#settings = settings;
  }

  get indexer(): Indexer | undefined {
    return this.#settings.indexer;
  }

  at(position: number, x: Vector, decisions: Decisions): Vector {
    const { scale, indexer, layer } = this.#settings;
    const latentQuery = this.#latentQuery(x);
    const queries = this.#queries(latentQuery ?? x, position);
    this.#remember(x, position);
    const visible = indexer
      ? indexer.selectionAt(layer, position, x, latentQuery!, decisions)
      : Array.from({ length: position + 1 }, (_, key) => key);
    const outputs = queries.map((query, head) => {
      const ofHead = (kept: readonly Vector[][]): Vector[] => visible.map((key) => kept[key]![head]!);
      return attend(query, ofHead(this.#keys), ofHead(this.#values), scale);
    });
    return this.#weights.linear('o_proj', concatenate(...outputs));
  }

  #latentQuery(x: Vector): Vector | undefined {
    if (!this.#weights.has('q_a_proj.weight')) return undefined;
    return this.#weights.rmsNorm('q_a_layernorm', this.#weights.linear('q_a_proj', x), latentEpsilon);
  }

  #queries(source: Vector, position: number): Vector[] {
    const { heads, nopeDim, ropeDim, rotary } = this.#settings;
    const name = this.#weights.has('q_b_proj.weight') ? 'q_b_proj' : 'q_proj';
    return cutEvenly(this.#weights.linear(name, source), heads).map((head) => {
      const [nope, rope] = cut(head, nopeDim, ropeDim);
      return concatenate(nope!, rotary.turn(rope!, position));
    });
  }

  #remember(x: Vector, position: number): void {
    const { heads, latentRank, nopeDim, ropeDim, valueDim, rotary } = this.#settings;
    const [compressed, rope] = cut(this.#weights.linear('kv_a_proj_with_mqa', x), latentRank, ropeDim);
    const latent = this.#weights.rmsNorm('kv_a_layernorm', compressed!, latentEpsilon);
    const turned = rotary.turn(rope!, position);
    const expanded = cutEvenly(this.#weights.linear('kv_b_proj', latent), heads);
    const parts = expanded.map((head) => cut(head, nopeDim, valueDim));
    this.#keys[position] = parts.map(([nope]) => concatenate(nope!, turned));
    this.#values[position] = parts.map(([, value]) => value!);
  }
}

export interface IndexerSettings {
  readonly layer: number;
  readonly heads: number;
  readonly headDim: number;
  /** How many keys are kept. */
  readonly kept: number;
  /** Turns the first values of each head. */
  readonly rotary: Rotary;
}

/** Scores all earlier positions with small heads of its own and keeps the best. */
export class Indexer {
  readonly #weights: Weights;
  readonly #settings: IndexerSettings;
  readonly #keys: Vector[] = [];
  readonly #selections: (readonly number[])[] = [];

  constructor(weights: Weights, settings: IndexerSettings) {
    this.#weights = weights;
    this.#settings = settings;
  }

  /** Key positions, ascending. A layer that is not the indexer's own gets what was selected for its own. */
  selectionAt(
    layer: number,
    position: number,
    x: Vector,
    latentQuery: Vector,
    decisions: Decisions,
  ): readonly number[] {
    if (layer === this.#settings.layer) {
      const scores = this.#scores(position, x, latentQuery);
      const { kept } = this.#settings;
      const selected = bestFirst(scores).slice(0, kept);
      decisions.margin = Math.min(decisions.margin, marginOf(scores, kept));
      this.#selections[position] = selected.sort((a, b) => a - b);
      decisions.selections.set(layer, this.#selections[position]!);
    }
    return this.#selections[position]!;
  }

  #scores(position: number, x: Vector, latentQuery: Vector): readonly number[] {
    const { heads, headDim, rotary } = this.#settings;
    const queries = cutEvenly(this.#weights.linear('wq_b', latentQuery), heads);
    const turned = queries.map((query) => rotary.turn(query, position));
    const key = layerNorm(
      this.#weights.linear('wk', x),
      this.#weights.vector('k_norm.weight'),
      this.#weights.vector('k_norm.bias'),
      1e-6,
    );
    this.#keys[position] = rotary.turn(key, position);
    const weights = this.#weights.linear('weights_proj', x).map((weight) => weight * heads ** -0.5);
    return this.#keys
      .slice(0, position + 1)
      .map((earlier) =>
        turned.reduce(
          (sum, query, head) => sum + weights[head]! * Math.max(0, dot(query, earlier) * headDim ** -0.5),
          0,
        ),
      );
  }
}
