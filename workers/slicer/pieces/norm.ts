/**
 * RMS norm, alone or after the addition that updates the residual stream. The operator that joins the two
 * (SkipSimplifiedLayerNormalization) takes twice the time of both on CPU.
 */
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import { outputRows, type PiecePlan, vectorWeight } from './piece-plan.ts';

/** Norm over the last dimension, of this width. */
export function norm(
  graph: OnnxGraph,
  plan: PiecePlan,
  x: string,
  weight: { readonly tensor: string; readonly width: number },
  output?: string,
): string {
  const scale = vectorWeight(graph, plan, weight.tensor, weight.width);
  const attributes = { axis: -1, epsilon: { float: plan.spec.normEpsilon } };
  return graph.node('RMSNormalization', [x, scale], attributes, output);
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
