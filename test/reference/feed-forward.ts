/** The second half of a layer: one network for all tokens, or experts and a router. */
import type { Decisions } from './attention.ts';
import { type RoutingSettings, route } from './routing.ts';
import {
  add,
  cutEvenly,
  matrixTimes,
  multiply,
  scale,
  sigmoid,
  silu,
  type Tensor,
  type Vector,
  weightedSum,
} from './vectors.ts';
import type { Weights } from './weights.ts';

export interface FeedForward {
  at(x: Vector, decisions: Decisions): Vector;
}

/** down(silu(gate) * up) */
export function swiglu(weights: Weights, x: Vector): Vector {
  return weights.linear('down_proj', multiply(weights.linear('gate_proj', x).map(silu), weights.linear('up_proj', x)));
}

export class DenseNetwork implements FeedForward {
  readonly #weights: Weights;

  constructor(weights: Weights) {
    this.#weights = weights;
  }

  at(x: Vector): Vector {
    return swiglu(this.#weights, x);
  }
}

export type Expert = (index: number, x: Vector) => Vector;

export interface ExpertSettings {
  readonly layer: number;
  readonly router: (x: Vector) => Vector;
  readonly bias: Vector | undefined;
  readonly routing: RoutingSettings;
  readonly expert: Expert;
  /** Added for every token. */
  readonly shared: ((x: Vector) => Vector) | undefined;
}

export class Experts implements FeedForward {
  readonly #settings: ExpertSettings;

  constructor(settings: ExpertSettings) {
    this.#settings = settings;
  }

  at(x: Vector, decisions: Decisions): Vector {
    const { layer, router, bias, routing, expert, shared } = this.#settings;
    const { experts, weights, margin } = route(routing, router(x), bias);
    decisions.margin = Math.min(decisions.margin, margin);
    decisions.routings.set(layer, { experts, weights });
    const sum = weightedSum(
      weights,
      experts.map((index) => expert(index, x)),
    );
    return shared ? add(sum, shared(x)) : sum;
  }
}

/** Experts of SwiGLU networks, each under its number or all in one stacked tensor with the gates' rows first. */
export function swigluExperts(weights: Weights): Expert {
  if (!weights.has('gate_up_proj')) return (index, x) => oneExpert(weights.at(`${index}`), x);
  return (index, x) => {
    const [gate, up] = cutEvenly(matrixTimes(weights.slice('gate_up_proj', index), x), 2);
    return matrixTimes(weights.slice('down_proj', index), multiply(gate!.map(silu), up!));
  };
}

/** Mixtral's and MiniMax's names: w1 is the gate, w3 goes up, w2 goes down. */
function oneExpert(weights: Weights, x: Vector): Vector {
  if (!weights.has('w1.weight')) return swiglu(weights, x);
  return weights.linear('w2', multiply(weights.linear('w1', x).map(silu), weights.linear('w3', x)));
}

/** gpt-oss: matrices stored [in, out], gate and up in turn, biases, and values that are kept within a limit. */
export function clampedExperts(weights: Weights, limit: number): Expert {
  return (index, x) => {
    const both = add(
      timesMatrix(x, weights.slice('gate_up_proj', index)),
      weights.slice('gate_up_proj_bias', index).values,
    );
    const gate = both.filter((_, i) => i % 2 === 0).map((value) => Math.min(value, limit));
    const up = both.filter((_, i) => i % 2 === 1).map((value) => Math.max(-limit, Math.min(value, limit)));
    const hidden = gate.map((value, i) => value * sigmoid(1.702 * value) * (up[i]! + 1));
    return add(timesMatrix(hidden, weights.slice('down_proj', index)), weights.slice('down_proj_bias', index).values);
  };
}

/** y = x W with W [in, out]. */
function timesMatrix(x: Vector, { shape, values }: Tensor): Vector {
  const [rows = 0, columns = 0] = shape;
  if (rows !== x.length)
    throw new Error(`a matrix [${shape.join(', ')}] stored transposed meets a vector of ${x.length}`);
  return weightedSum(
    x,
    Array.from({ length: rows }, (_, row) => values.subarray(row * columns, (row + 1) * columns)),
  );
}

/** A shared expert whose output passes a gate of its own. */
export function gatedShared(weights: Weights): (x: Vector) => Vector {
  return (x) => scale(swiglu(weights.at('shared_expert'), x), sigmoid(weights.linear('shared_expert_gate', x)[0]!));
}
