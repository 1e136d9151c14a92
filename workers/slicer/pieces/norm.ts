/** RMS norm of the residual stream, joined with the addition that updates the stream. */
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import { type PiecePlan, vectorWeight } from './piece-plan.ts';

/** norm(x) */
export function norm(graph: OnnxGraph, plan: PiecePlan, x: string, tensor: string): string {
  const weight = vectorWeight(graph, plan, tensor, plan.spec.hiddenSize);
  const attributes = { axis: -1, epsilon: { float: plan.spec.normEpsilon } };
  return graph.node('SimplifiedLayerNormalization', [x, weight], attributes);
}

/** Produces x + delta as `residual` ('' when nobody wants it) and norm(x + delta) as `normed`. */
export function addNorm(
  graph: OnnxGraph,
  plan: PiecePlan,
  stream: { readonly x: string; readonly delta: string },
  tensor: string,
  outputs: { readonly normed: string; readonly residual: string },
): void {
  const weight = vectorWeight(graph, plan, tensor, plan.spec.hiddenSize);
  const attributes = { epsilon: { float: plan.spec.normEpsilon } };
  // Outputs 1 and 2 are statistics for training.
  const names = outputs.residual === '' ? [outputs.normed] : [outputs.normed, '', '', outputs.residual];
  graph.nodes('SkipSimplifiedLayerNormalization', [stream.x, stream.delta, weight], attributes, names);
}
