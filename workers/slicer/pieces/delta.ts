/** The gated delta net: its projections, and the convolution and recurrence over one sequence's rows. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { evenRange, type Range } from '../../models/shard.ts';
import type { DeltaSpec } from '../../models/spec.ts';
import { tensorNames } from '../../models/tensor-names.ts';
import { enterLayer, norm } from './norm.ts';
import { floatLinear, floatWeight, linear, outputRows, type PiecePlan, rowsOf } from './piece-plan.ts';

/** Keeps the length of a query or key from zero, as the reference implementation does. */
const lengthEpsilon = 1e-6;

/** This rank's part of a layer. */
interface DeltaPart {
  readonly keyHeads: Range;
  readonly valueHeads: Range;
  readonly keyWidth: number;
  readonly valueWidth: number;
  /** Of queries, keys and values within `mixed`. */
  readonly mixedRows: readonly Range[];
  readonly channels: number;
  readonly valueRows: Range;
}

export function deltaPart({ shard }: Pick<PiecePlan, 'shard'>, spec: DeltaSpec): DeltaPart {
  const { keyDim, valueDim } = spec;
  const keyHeads = evenRange(spec.keyHeads, shard);
  const perKeyHead = spec.valueHeads / spec.keyHeads;
  const valueHeads = { first: keyHeads.first * perKeyHead, count: keyHeads.count * perKeyHead };
  const keyWidth = keyHeads.count * keyDim;
  const valueRows = { first: valueHeads.first * valueDim, count: valueHeads.count * valueDim };
  const allKeys = spec.keyHeads * keyDim;
  const queryRows = { first: keyHeads.first * keyDim, count: keyWidth };
  const mixedRows = [
    queryRows,
    { first: allKeys + queryRows.first, count: keyWidth },
    { first: 2 * allKeys + valueRows.first, count: valueRows.count },
  ];
  const channels = 2 * keyWidth + valueRows.count;
  return { keyHeads, valueHeads, keyWidth, valueWidth: valueRows.count, mixedRows, channels, valueRows };
}

/** How a position is written and forgotten decides about all that follow: those two products stay float. */
export function deltaInPiece(plan: PiecePlan, layer: number, spec: DeltaSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-in`);
  const { delta: names, attentionNorm } = tensorNames.layer(layer);
  const { hiddenSize } = plan.spec;
  const { mixedRows, channels, valueHeads, valueRows } = deltaPart(plan, spec);
  const normed = enterLayer(graph, plan, layer, attentionNorm);
  linear(graph, plan, normed, rowsOf(names.mixed, mixedRows, hiddenSize), 'mixed');
  outputRows(graph, 'mixed', channels);
  floatLinear(graph, plan, normed, rowsOf(names.rate, valueHeads, hiddenSize), 'rate');
  outputRows(graph, 'rate', valueHeads.count);
  floatLinear(graph, plan, normed, rowsOf(names.decay, valueHeads, hiddenSize), 'decay');
  outputRows(graph, 'decay', valueHeads.count);
  linear(graph, plan, normed, rowsOf(names.gate, valueRows, hiddenSize), 'gate');
  outputRows(graph, 'gate', valueRows.count);
  return graph;
}

/** One sequence's rows, in order, from its state before them to its state after. */
export function deltaPiece(plan: PiecePlan, layer: number, spec: DeltaSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} delta`);
  const { valueHeads, keyWidth, valueWidth } = deltaPart(plan, spec);
  const [query, key, value] = graph.split(convolved(graph, plan, layer, spec), 2, [keyWidth, keyWidth, valueWidth]);
  const inputs = [
    perValueHead(graph, plan, spec, unitLength(graph, plan, spec, query!, 'q'), 'q'),
    perValueHead(graph, plan, spec, unitLength(graph, plan, spec, key!, 'k'), 'k'),
    value!,
    graph.input('state', 'f32', [1, valueHeads.count, spec.keyDim, spec.valueDim]),
    sequenceOf(graph, graph.input('decay', 'f32', ['n', valueHeads.count])),
    sequenceOf(graph, graph.input('rate', 'f32', ['n', valueHeads.count])),
  ];
  const attributes = {
    q_num_heads: valueHeads.count,
    kv_num_heads: valueHeads.count,
    update_rule: 'gated_delta',
    scale: { float: spec.keyDim ** -0.5 },
  };
  graph.nodes('LinearAttention', inputs, attributes, ['context_sequence', 'next_state']);
  graph.node('Squeeze', ['context_sequence', graph.i64('context_axis', [0])], {}, 'context');
  outputRows(graph, 'context', valueWidth);
  graph.output('next_state', 'f32', [1, valueHeads.count, spec.keyDim, spec.valueDim]);
  return graph;
}

/** x [n, width] -> [1, n, width] */
function sequenceOf(graph: OnnxGraph, x: string): string {
  return graph.node('Unsqueeze', [x, graph.i64(`${x}_axis`, [0])]);
}

/** silu of the causal convolution -> [1, n, channels]. */
function convolved(graph: OnnxGraph, plan: PiecePlan, layer: number, spec: DeltaSpec): string {
  const { channels, mixedRows } = deltaPart(plan, spec);
  const { kernel } = spec;
  const matrix = rowsOf(tensorNames.layer(layer).delta.convolution, mixedRows, kernel);
  const mixed = graph.input('mixed', 'f32', ['n', channels]);
  const channelsFirst = graph.node('Unsqueeze', [
    graph.node('Transpose', [mixed], { perm: [1, 0] }),
    graph.i64('mixed_axis', [0]),
  ]);
  const weight = floatWeight(graph, plan, matrix, [channels, 1, kernel]);
  const past = graph.input('convolution', 'f32', [1, channels, kernel - 1]);
  const inputs = [channelsFirst, weight, '', past];
  const attributes = { activation: 'silu', ndim: 1 };
  graph.nodes('CausalConvWithState', inputs, attributes, ['convolved', 'next_convolution']);
  graph.output('next_convolution', 'f32', [1, channels, kernel - 1]);
  return graph.node('Transpose', ['convolved'], { perm: [0, 2, 1] });
}

/**
 * Each key head of x [1, n, keyHeads*keyDim] divided by its length -> [1, n, keyHeads, keyDim]. An RMS norm divides by the root of
 * the mean where this divides by that of the sum; reductions of their own would add in another order for one row.
 */
function unitLength(graph: OnnxGraph, plan: PiecePlan, spec: DeltaSpec, x: string, name: string): string {
  const { keyDim } = spec;
  const { keyHeads } = deltaPart(plan, spec);
  const byHead = graph.node('Reshape', [x, graph.i64(`${name}_by_head`, [1, -1, keyHeads.count, keyDim])]);
  const scale = graph.f32(`${name}_scale`, new Array<number>(keyDim).fill(keyDim ** -0.5));
  return graph.node('RMSNormalization', [byHead, scale], { axis: -1, epsilon: { float: lengthEpsilon / keyDim } });
}

/** [1, n, keyHeads, keyDim] -> [1, n, valueHeads*keyDim]: value heads that share a key head lie side by side. */
function perValueHead(graph: OnnxGraph, plan: PiecePlan, spec: DeltaSpec, x: string, name: string): string {
  const { keyHeads, valueHeads } = deltaPart(plan, spec);
  const head = Array.from({ length: valueHeads.count }, (_, i) => Math.floor((i * keyHeads.count) / valueHeads.count));
  const repeated = graph.node('Gather', [x, graph.i64(`${name}_heads`, head)], { axis: 2 });
  return graph.node('Reshape', [repeated, graph.i64(`${name}_flat`, [1, -1, valueHeads.count * spec.keyDim])]);
}

/** Norm of each head of context [n, valueHeads*valueDim], times silu(gate). */
export function gatedNorm(
  graph: OnnxGraph,
  plan: PiecePlan,
  layer: number,
  spec: DeltaSpec,
  rows: { readonly context: string; readonly gate: string },
): string {
  const { valueHeads, valueWidth } = deltaPart(plan, spec);
  const byHead = graph.node('Reshape', [
    rows.context,
    graph.i64('context_by_head', [-1, valueHeads.count, spec.valueDim]),
  ]);
  const tensor = tensorNames.layer(layer).delta.norm;
  const normed = norm(graph, plan, byHead, { tensor, width: spec.valueDim, addsOne: false });
  const flat = graph.node('Reshape', [normed, graph.i64('context_flat', [-1, valueWidth])]);
  // QuickGelu with alpha 1 is x * sigmoid(x), in one pass.
  return graph.node('Mul', [flat, graph.node('QuickGelu', [rows.gate], { alpha: { float: 1 } })]);
}
