/**
 * RMS norm, alone or after the addition that updates the residual stream. The operator that joins the two
 * (SkipSimplifiedLayerNormalization) takes twice the time of both on CPU.
 */
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import { type Matrix, vector } from '../matrix.ts';
import { floatWeight, inputRows, outputRows, type PiecePlan } from './piece-plan.ts';

export interface NormWeight {
  readonly tensor: string;
  readonly width: number;
  /** Default: the model's. */
  readonly epsilon?: number;
  /** Multiplies by 1 + weight. Default: as the model's norms do. */
  readonly addsOne?: boolean;
}

/** Norm over the last dimension, of this width. */
export function norm(graph: OnnxGraph, plan: PiecePlan, x: string, weight: NormWeight, output?: string): string {
  const { tensor, width, epsilon = plan.spec.normEpsilon, addsOne = plan.spec.normsAddOne } = weight;
  const scale = floatWeight(graph, plan, vector(tensor, { first: 0, count: width }), [width], addsOne ? 1 : 0);
  return graph.node('RMSNormalization', [x, scale], { axis: -1, epsilon: { float: epsilon } }, output);
}

/** Sum of the squares of each row of x [n, width] -> [n, 1]. */
export function squareSum(graph: OnnxGraph, x: string): string {
  return graph.node('ReduceSumSquare', [x, graph.i64(`${x}_axis`, [1])], { keepdims: 1 });
}

/** Norm of rows of which this rank has a part, by their sums of squares [n, 1] and the number of terms in each. */
export function normBySum(
  graph: OnnxGraph,
  plan: PiecePlan,
  part: { readonly x: string; readonly sum: string; readonly terms: number; readonly weight: Matrix },
): string {
  const { x, sum, terms, weight } = part;
  const mean = graph.node('Mul', [sum, graph.f32(`${x}_share`, [1 / terms])]);
  const root = graph.node('Sqrt', [graph.node('Add', [mean, graph.f32(`${x}_epsilon`, [plan.spec.normEpsilon])])]);
  const normed = graph.node('Div', [x, root]);
  const added = plan.spec.normsAddOne ? 1 : 0;
  return graph.node('Mul', [normed, floatWeight(graph, plan, weight, [weight.rows], added)]);
}

/** norm(x + delta); x + delta becomes the graph's output `residual`. */
export function addNorm(
  graph: OnnxGraph,
  plan: PiecePlan,
  stream: { readonly x: string; readonly delta: string },
  tensor: string,
  output?: string,
): string {
  const width = plan.spec.hiddenSize;
  graph.node('Add', [stream.x, stream.delta], {}, 'residual');
  outputRows(graph, 'residual', width);
  return norm(graph, plan, 'residual', { tensor, width }, output);
}

/** Norm of the stream that enters a layer; the first layer takes it as the embedding left it. */
export function enterLayer(graph: OnnxGraph, plan: PiecePlan, layer: number, tensor: string): string {
  const width = plan.spec.hiddenSize;
  const x = inputRows(graph, 'x', width);
  if (layer === 0) return norm(graph, plan, x, { tensor, width });
  return addNorm(graph, plan, { x, delta: inputRows(graph, 'delta', width) }, tensor);
}
