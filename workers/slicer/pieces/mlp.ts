/** What follows attention: a dense MLP, or a router and the experts it chooses from. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { evenRange, expertWidth, type Range } from '../../models/shard.ts';
import type { ActivationSpec, DenseSpec, ExpertsSpec, SharedExpertSpec } from '../../models/spec.ts';
import { type MlpNames, tensorNames } from '../../models/tensor-names.ts';
import { projectOutput } from './attention-out.ts';
import { addNorm } from './norm.ts';
import {
  addBias,
  columnsOf,
  floatLinear,
  inputRows,
  linear,
  outputRows,
  type PiecePlan,
  rowsOf,
} from './piece-plan.ts';

interface GatedMlp {
  readonly names: MlpNames;
  /** The part of the inner width that this graph has. */
  readonly inner: Range;
  readonly activation: ActivationSpec;
  readonly bias: boolean;
  /** The output is a sum over ranks: one of them adds the bias. */
  readonly addsOutputBias: boolean;
}

const silu: ActivationSpec = { kind: 'silu' };

/** down(activation(gate x, up x)) of the inner columns, so where others have the rest the output is a part of a sum. */
function gatedMlp(graph: OnnxGraph, plan: PiecePlan, x: string, mlp: GatedMlp, output?: string): string {
  const { names, inner, activation, bias } = mlp;
  const { hiddenSize } = plan.spec;
  const widened = (tensor: string): string => {
    const product = linear(graph, plan, x, rowsOf(tensor, inner, hiddenSize));
    return bias ? addBias(graph, plan, product, tensor, inner) : product;
  };
  const gated = activate(graph, activation, widened(names.gate), () => widened(names.up));
  const down = columnsOf(names.down, hiddenSize, inner);
  if (!bias || !mlp.addsOutputBias) return linear(graph, plan, gated, down, output);
  const product = linear(graph, plan, gated, down);
  return addBias(graph, plan, product, names.down, { first: 0, count: hiddenSize }, output);
}

/** QuickGelu is x * sigmoid(alpha x), in one pass. */
function activate(graph: OnnxGraph, activation: ActivationSpec, gate: string, up: () => string): string {
  if (activation.kind === 'silu') {
    const opened = graph.node('QuickGelu', [gate], { alpha: { float: 1 } });
    return graph.node('Mul', [opened, up()]);
  }
  const { alpha, limit } = activation;
  const most = graph.scalar('most', limit);
  const least = graph.scalar('least', -limit);
  const opened = graph.node('QuickGelu', [graph.node('Min', [gate, most])], { alpha: { float: alpha } });
  const raised = graph.node('Add', [graph.node('Clip', [up(), least, most]), graph.scalar('one', 1)]);
  return graph.node('Mul', [opened, raised]);
}

/** Norm of the stream after attention. Joined, attention's output projection is part of the graph. */
function enter(graph: OnnxGraph, plan: PiecePlan, layer: number, joined: boolean, output?: string): string {
  const { hiddenSize } = plan.spec;
  const attended = joined ? projectOutput(graph, plan, layer) : undefined;
  const x = inputRows(graph, 'x', hiddenSize);
  const delta = attended ?? inputRows(graph, 'delta', hiddenSize);
  return addNorm(graph, plan, { x, delta }, tensorNames.layer(layer).mlpNorm, output);
}

export function mlpPiece(plan: PiecePlan, layer: number, joined: boolean, mlp: DenseSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} mlp`);
  const normed = enter(graph, plan, layer, joined);
  const names = tensorNames.layer(layer).mlp;
  const inner = evenRange(mlp.width, plan.shard);
  const addsOutputBias = plan.shard.rank === 0;
  gatedMlp(graph, plan, normed, { names, inner, activation: silu, bias: mlp.bias, addsOutputBias }, 'partial');
  outputRows(graph, 'partial', plan.spec.hiddenSize);
  return graph;
}

/** Router scores stay float: in fewer bits they choose other experts. */
export function routerPiece(plan: PiecePlan, layer: number, joined: boolean, mlp: ExpertsSpec): OnnxGraph {
  const { hiddenSize } = plan.spec;
  const graph = new OnnxGraph(`layer ${layer} router`);
  enter(graph, plan, layer, joined, 'hidden');
  outputRows(graph, 'hidden', hiddenSize);
  const tensor = tensorNames.layer(layer).router;
  const all = { first: 0, count: mlp.experts };
  const scores = rowsOf(tensor, all, hiddenSize);
  if (!mlp.routing.bias) floatLinear(graph, plan, 'hidden', scores, 'scores');
  else addBias(graph, plan, floatLinear(graph, plan, 'hidden', scores), tensor, all, 'scores');
  outputRows(graph, 'scores', mlp.experts);
  if (mlp.shared) sharedExpert(graph, plan, layer, mlp.shared);
  return graph;
}

/** Yields `shared`: this rank's part of what every row gets beside its experts. */
function sharedExpert(graph: OnnxGraph, plan: PiecePlan, layer: number, { width, gated }: SharedExpertSpec): void {
  const { sharedExpert: names, sharedExpertGate } = tensorNames.layer(layer);
  const { hiddenSize } = plan.spec;
  const mlp = { names, inner: evenRange(width, plan.shard), activation: silu, bias: false, addsOutputBias: false };
  if (!gated) gatedMlp(graph, plan, 'hidden', mlp, 'shared');
  else {
    const logit = floatLinear(graph, plan, 'hidden', rowsOf(sharedExpertGate, { first: 0, count: 1 }, hiddenSize));
    const out = gatedMlp(graph, plan, 'hidden', mlp);
    graph.node('Mul', [out, graph.node('Sigmoid', [logit])], {}, 'shared');
  }
  outputRows(graph, 'shared', hiddenSize);
}

export function expertPiece(plan: PiecePlan, layer: number, expert: number, mlp: ExpertsSpec): OnnxGraph {
  const { hiddenSize } = plan.spec;
  const { shard } = plan;
  const graph = new OnnxGraph(`layer ${layer} expert ${expert}`);
  const hidden = graph.input('hidden', 'f32', ['m', hiddenSize]);
  const { activation, bias } = mlp;
  const addsOutputBias = shard.experts === 'spread' || shard.rank === 0;
  const names = tensorNames.layer(layer).expert(expert);
  gatedMlp(graph, plan, hidden, { names, inner: expertWidth(mlp, shard), activation, bias, addsOutputBias }, 'out');
  graph.output('out', 'f32', ['m', hiddenSize]);
  return graph;
}
