/** The gated delta rule as a recurrence, one position at a time (Yang et al. 2024, arXiv 2412.06464), as Qwen3-Next uses it. */
import type { Attention } from './attention.ts';
import {
  concatenate,
  cut,
  cutEvenly,
  dot,
  multiply,
  rmsNormalised,
  scale,
  sigmoid,
  silu,
  type Vector,
  zeros,
} from './vectors.ts';
import type { Weights } from './weights.ts';

export interface DeltaNetSettings {
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  readonly kernel: number;
  readonly epsilon: number;
}

/** What the projections give at one position; `b` and `a` have a value for each value head. */
interface Projected {
  /** Queries, keys, values of all heads one after another: what the convolution runs over. */
  readonly mixed: Vector;
  readonly z: Vector;
  readonly b: Vector;
  readonly a: Vector;
}

/** One value head's memory: keyDim rows of valueDim. */
type State = readonly Vector[];

export class GatedDeltaNet implements Attention {
  readonly #weights: Weights;
  readonly #settings: DeltaNetSettings;
  readonly #mixed: Vector[] = [];
  /** By position: every value head's memory after it. */
  readonly #states: (readonly State[])[] = [];

  constructor(weights: Weights, settings: DeltaNetSettings) {
    this.#weights = weights;
    this.#settings = settings;
  }

  at(position: number, x: Vector): Vector {
    const { keyHeads, valueHeads, keyDim, valueDim, epsilon } = this.#settings;
    const { mixed, z, b, a } = this.#project(x);
    this.#mixed[position] = mixed;
    const [q, k, v] = cut(this.#convolved(position), keyHeads * keyDim, keyHeads * keyDim, valueHeads * valueDim);
    const queries = cutEvenly(q!, keyHeads).map((query) => scale(unit(query), keyDim ** -0.5));
    const keys = cutEvenly(k!, keyHeads).map(unit);
    const values = cutEvenly(v!, valueHeads);
    const gates = cutEvenly(z, valueHeads);
    const outputs: Vector[] = [];
    this.#states[position] = values.map((value, head) => {
      const keyHead = Math.floor(head / (valueHeads / keyHeads));
      const before = this.#states[position - 1]?.[head] ?? Array.from({ length: keyDim }, () => zeros(valueDim));
      const after = remember(before, keys[keyHead]!, value, this.#decay(head, a), sigmoid(b[head]!));
      const normed = multiply(
        rmsNormalised(recall(after, queries[keyHead]!), epsilon),
        this.#weights.vector('norm.weight'),
      );
      outputs.push(multiply(normed, gates[head]!.map(silu)));
      return after;
    });
    return this.#weights.linear('out_proj', concatenate(...outputs));
  }

  /** What the memory of a value head is multiplied by. */
  #decay(head: number, a: Vector): number {
    const rate = Math.exp(this.#weights.vector('A_log')[head]!);
    return Math.exp(-rate * Math.log1p(Math.exp(a[head]! + this.#weights.vector('dt_bias')[head]!)));
  }

  /** Each channel over its last positions, the newest under the last tap; then silu. */
  #convolved(position: number): Vector {
    const { kernel } = this.#settings;
    const { values: taps } = this.#weights.tensor('conv1d.weight');
    return this.#mixed[position]!.map((_, channel) => {
      let sum = 0;
      for (let tap = 0; tap < kernel; tap++) {
        const earlier = this.#mixed[position - kernel + 1 + tap];
        if (earlier) sum += taps[channel * kernel + tap]! * earlier[channel]!;
      }
      return silu(sum);
    });
  }

  #project(x: Vector): Projected {
    return this.#weights.has('in_proj_qkvz.weight') ? this.#projectGrouped(x) : this.#projectFlat(x);
  }

  /** Qwen3.5: a matrix for each part, heads one after another. */
  #projectFlat(x: Vector): Projected {
    const [mixed, z, b, a] = ['in_proj_qkv', 'in_proj_z', 'in_proj_b', 'in_proj_a'].map((name) =>
      this.#weights.linear(name, x),
    );
    return { mixed: mixed!, z: z!, b: b!, a: a! };
  }

  /** Qwen3-Next: rows grouped by key head, in each the query, the key, and values, gates, b and a of its value heads. */
  #projectGrouped(x: Vector): Projected {
    const { keyHeads, valueHeads, keyDim, valueDim } = this.#settings;
    const ratio = valueHeads / keyHeads;
    const groups = cutEvenly(this.#weights.linear('in_proj_qkvz', x), keyHeads).map((group) =>
      cut(group, keyDim, keyDim, ratio * valueDim, ratio * valueDim),
    );
    const pairs = cutEvenly(this.#weights.linear('in_proj_ba', x), keyHeads).map((pair) => cut(pair, ratio, ratio));
    const part = (index: number): Vector => concatenate(...groups.map((group) => group[index]!));
    return {
      mixed: concatenate(part(0), part(1), part(2)),
      z: part(3),
      b: concatenate(...pairs.map(([b]) => b!)),
      a: concatenate(...pairs.map(([, a]) => a!)),
    };
  }
}

function unit(x: Vector): Vector {
  return scale(x, 1 / Math.sqrt(dot(x, x) + 1e-6));
}

/** S' = decay S; S' + k (x) beta (v - S'^T k). */
function remember(state: State, key: Vector, value: Vector, decay: number, beta: number): State {
  const faded = state.map((row) => scale(row, decay));
  const recalled = recall(faded, key);
  const correction = value.map((wanted, i) => beta * (wanted - recalled[i]!));
  return faded.map((row, i) => row.map((old, j) => old + key[i]! * correction[j]!));
}

/** S^T x. */
function recall(state: State, x: Vector): Vector {
  const sum = zeros(state[0]!.length);
  for (const [i, row] of state.entries()) for (const [j, value] of row.entries()) sum[j]! += x[i]! * value;
  return sum;
}
