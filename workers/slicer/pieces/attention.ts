/** The linear parts around attention: norm, queries, keys and values with rotary embedding; the output projection. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import type { Range } from '../../models/shard.ts';
import { biasOf, type LayerNames } from '../../models/tensor-names.ts';
import { type Rectangle, stack } from '../matrix.ts';
import { addNorm, norm } from './norm.ts';
import { floatWeight, inputRows, linear, outputLinear, outputRows, type PiecePlan } from './piece-plan.ts';

interface Widths {
  readonly query: Range;
  readonly keyValue: Range;
}

/** Rows of the projections that belong to this rank's heads. */
function widthsOf({ spec, shard }: PiecePlan): Widths {
  const scale = ({ first, count }: Range): Range => ({
    first: first * spec.attention.headDim,
    count: count * spec.attention.headDim,
  });
  return { query: scale(shard.heads), keyValue: scale(shard.kvHeads) };
}

/** One product for queries, keys and values: [n, q + k + v], in that order. */
function project(graph: OnnxGraph, plan: PiecePlan, names: LayerNames, normed: string): string {
  const { query, keyValue } = widthsOf(plan);
  const sources = [
    { tensor: names.query, rows: query },
    { tensor: names.key, rows: keyValue },
    { tensor: names.value, rows: keyValue },
  ];
  const columns = { first: 0, count: plan.spec.hiddenSize };
  const product = linear(graph, plan, normed, stack(sources.map((source) => ({ ...source, columns }))));
  if (!plan.spec.attention.inputBias) return product;
  const biases = sources.map(
    ({ tensor, rows }): Rectangle => ({ tensor: biasOf(tensor), rows, columns: { first: 0, count: 1 } }),
  );
  const bias = floatWeight(graph, plan, stack(biases), [query.count + 2 * keyValue.count]);
  return graph.node('Add', [product, bias]);
}

/** Norm of every query and key head, with one weight for queries and one for keys, written out head by head. */
function headNorm(graph: OnnxGraph, plan: PiecePlan, names: LayerNames, queryKey: string): string {
  const { headDim } = plan.spec.attention;
  const whole = (tensor: string, times: number): Rectangle[] =>
    new Array<Rectangle>(times).fill({ tensor, rows: { first: 0, count: headDim }, columns: { first: 0, count: 1 } });
  const { heads, kvHeads } = plan.shard;
  const rows = heads.count + kvHeads.count;
  const weights = stack([...whole(names.queryNorm, heads.count), ...whole(names.keyNorm, kvHeads.count)]);
  const weight = floatWeight(graph, plan, weights, [rows, headDim]);
  const byHead = graph.node('Reshape', [queryKey, graph.i64('by_head', [-1, rows, headDim])]);
  const attributes = { axis: -1, epsilon: { float: plan.spec.normEpsilon } };
  return graph.node('SimplifiedLayerNormalization', [byHead, weight], attributes);
}

/** Queries and keys turn together: to the operator they are heads of one sequence of n positions. */
function rotate(graph: OnnxGraph, plan: PiecePlan, queryKey: string, width: number): string {
  const { headDim, rotary } = plan.spec.attention;
  const halves = rotary.dims / 2;
  const inputs = [
    graph.node('Reshape', [queryKey, graph.i64('one_sequence', [1, -1, width])]),
    graph.input('positions', 'i64', [1, 'n']),
    'cos',
    'sin',
  ];
  const partial = rotary.dims === headDim ? {} : { rotary_embedding_dim: rotary.dims };
  const turned = graph.node('RotaryEmbedding', inputs, { num_heads: width / headDim, ...partial });
  inputRows(graph, 'cos', halves);
  inputRows(graph, 'sin', halves);
  return graph.node('Reshape', [turned, graph.i64('rows', [-1, width])]);
}

export function attentionInPiece(plan: PiecePlan, layer: number): OnnxGraph {
  const { spec, names } = plan;
  const layerNames = names.layer(layer);
  const { query, keyValue } = widthsOf(plan);
  const graph = new OnnxGraph(`layer ${layer} attention-in`);
  const x = inputRows(graph, 'x', spec.hiddenSize);
  const normed = layer === 0 ? norm(graph, plan, x, layerNames.attentionNorm) : 'normed';
  if (layer > 0) {
    const stream = { x, delta: inputRows(graph, 'delta', spec.hiddenSize) };
    addNorm(graph, plan, stream, layerNames.attentionNorm, { normed, residual: 'residual' });
    outputRows(graph, 'residual', spec.hiddenSize);
  }
  const turned = query.count + keyValue.count;
  const sizes = graph.i64('qk_and_v', [turned, keyValue.count]);
  graph.nodes('Split', [project(graph, plan, layerNames, normed), sizes], { axis: 1 }, ['qk', 'v']);
  const queryKey = spec.attention.headNorm ? headNorm(graph, plan, layerNames, 'qk') : 'qk';
  const rotated = rotate(graph, plan, queryKey, turned);
  graph.nodes('Split', [rotated, graph.i64('q_and_k', [query.count, keyValue.count])], { axis: 1 }, ['q', 'k']);
  outputRows(graph, 'q', query.count);
  outputRows(graph, 'k', keyValue.count);
  outputRows(graph, 'v', keyValue.count);
  return graph;
}

/** Adds context [n, heads * headDim] x output projection -> this rank's part of [n, hidden]. */
export function projectOutput(graph: OnnxGraph, plan: PiecePlan, layer: number, output?: string): string {
  const { query } = widthsOf(plan);
  const tensor = plan.names.layer(layer).output;
  const matrix = stack([{ tensor, rows: { first: 0, count: plan.spec.hiddenSize }, columns: query }]);
  const context = inputRows(graph, 'context', query.count);
  return outputLinear(graph, plan, context, matrix, {
    tensor,
    bias: plan.spec.attention.outputBias,
    ...(output === undefined ? {} : { output }),
  });
}

export function attentionOutPiece(plan: PiecePlan, layer: number): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-out`);
  projectOutput(graph, plan, layer, 'partial');
  outputRows(graph, 'partial', plan.spec.hiddenSize);
  return graph;
}
