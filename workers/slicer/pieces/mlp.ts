/** What follows attention: a dense MLP, or a router and the experts it chooses from. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { evenRange } from '../../models/shard.ts';
import type { DenseSpec, ExpertsSpec } from '../../models/spec.ts';
import { biasOf, type MlpNames } from '../../models/tensor-names.ts';
import { stack, vector } from '../matrix.ts';
import { projectOutput } from './attention.ts';
import { addNorm } from './norm.ts';
import { floatLinear, floatWeight, inputRows, linear, outputLinear, outputRows, type PiecePlan } from './piece-plan.ts';

/** down(silu(gate x) * up x): this rank's columns of the inner width, so the output is its part of a sum. */
function swiglu(
  graph: OnnxGraph,
  plan: PiecePlan,
  x: string,
  names: MlpNames,
  options: { readonly width: number; readonly bias: boolean; readonly output: string },
): void {
  const { hiddenSize } = plan.spec;
  const inner = evenRange(options.width, plan.shard.rank, plan.shard.ranks);
  const columns = { first: 0, count: hiddenSize };
  const widened = (tensor: string): string => {
    const product = linear(graph, plan, x, stack([{ tensor, rows: inner, columns }]));
    if (!options.bias) return product;
    return graph.node('Add', [product, floatWeight(graph, plan, vector(biasOf(tensor), inner), [inner.count])]);
  };
  // QuickGelu with alpha 1 is x * sigmoid(x), in one pass.
  const gate = graph.node('QuickGelu', [widened(names.gate)], { alpha: { float: 1 } });
  const gated = graph.node('Mul', [gate, widened(names.up)]);
  const down = stack([{ tensor: names.down, rows: { first: 0, count: hiddenSize }, columns: inner }]);
  const { bias, output } = options;
  outputLinear(graph, plan, gated, down, { tensor: names.down, bias, output });
}

/** Norm of the stream after attention. Joined, attention's output projection is part of the graph. */
function enter(graph: OnnxGraph, plan: PiecePlan, layer: number, joined: boolean, output?: string): string {
  const { hiddenSize } = plan.spec;
  const attended = joined ? projectOutput(graph, plan, layer) : undefined;
  const x = inputRows(graph, 'x', hiddenSize);
  const delta = attended ?? inputRows(graph, 'delta', hiddenSize);
  return addNorm(graph, plan, { x, delta }, plan.names.layer(layer).mlpNorm, output);
}

export function mlpPiece(plan: PiecePlan, layer: number, joined: boolean, mlp: DenseSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} mlp`);
  const normed = enter(graph, plan, layer, joined);
  const { width, bias } = mlp;
  swiglu(graph, plan, normed, plan.names.layer(layer).mlp, { width, bias, output: 'partial' });
  outputRows(graph, 'partial', plan.spec.hiddenSize);
  return graph;
}

/** Router scores stay float: in fewer bits they choose other experts. */
export function routerPiece(plan: PiecePlan, layer: number, joined: boolean, mlp: ExpertsSpec): OnnxGraph {
  const { hiddenSize } = plan.spec;
  const graph = new OnnxGraph(`layer ${layer} router`);
  enter(graph, plan, layer, joined, 'hidden');
  outputRows(graph, 'hidden', hiddenSize);
  const router = { tensor: plan.names.layer(layer).router, rows: { first: 0, count: mlp.experts } };
  floatLinear(graph, plan, 'hidden', stack([{ ...router, columns: { first: 0, count: hiddenSize } }]), 'scores');
  outputRows(graph, 'scores', mlp.experts);
  return graph;
}

export function expertPiece(plan: PiecePlan, layer: number, expert: number, mlp: ExpertsSpec): OnnxGraph {
  const { hiddenSize } = plan.spec;
  const graph = new OnnxGraph(`layer ${layer} expert ${expert}`);
  const hidden = graph.input('hidden', 'f32', ['m', hiddenSize]);
  const names = plan.names.layer(layer).expert(expert);
  swiglu(graph, plan, hidden, names, { width: mlp.width, bias: false, output: 'out' });
  graph.output('out', 'f32', ['m', hiddenSize]);
  return graph;
}
