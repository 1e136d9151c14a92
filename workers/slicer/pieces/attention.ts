/** The linear parts around attention: norm, queries, keys and values with rotary embedding; the output projection. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import type { Range } from '../../models/shard.ts';
import { biasOf } from '../../models/tensor-names.ts';
import { stack, vector } from '../matrix.ts';
import { addNorm, norm } from './norm.ts';
import { floatWeight, inputRows, linear, outputLinear, outputRows, type PiecePlan } from './piece-plan.ts';

/** What distinguishes queries, keys and values. */
interface Projection {
  readonly tensor: string;
  /** This rank's rows of it. */
  readonly rows: Range;
  /** Norm of each head; values have none. */
  readonly headNorm?: string;
  readonly output: 'q' | 'k' | 'v';
}

function headRows({ spec }: PiecePlan, heads: Range): Range {
  const { headDim } = spec.attention;
  return { first: heads.first * headDim, count: heads.count * headDim };
}

/**
 * Queries, keys and values are three products. One for all three would have to be split again, which takes longer than
 * quantising the input three times does.
 */
function project(graph: OnnxGraph, plan: PiecePlan, normed: string, projection: Projection, output?: string): string {
  const { tensor, rows } = projection;
  const matrix = stack([{ tensor, rows, columns: { first: 0, count: plan.spec.hiddenSize } }]);
  if (!plan.spec.attention.inputBias) return linear(graph, plan, normed, matrix, output);
  const product = linear(graph, plan, normed, matrix);
  const bias = floatWeight(graph, plan, vector(biasOf(tensor), rows), [rows.count]);
  return graph.node('Add', [product, bias], {}, output);
}

/** Norm of each head where the family has it, then rotary embedding: to the operator, one sequence of n positions. */
function rotate(graph: OnnxGraph, plan: PiecePlan, product: string, projection: Projection): void {
  const { headDim, headNorm, rotary } = plan.spec.attention;
  const { rows, output } = projection;
  const heads = rows.count / headDim;
  let x = product;
  if (headNorm && projection.headNorm) {
    const byHead = graph.node('Reshape', [x, graph.i64(`${output}_by_head`, [1, -1, heads, headDim])]);
    x = norm(graph, plan, byHead, { tensor: projection.headNorm, width: headDim });
  }
  const sequence = graph.node('Reshape', [x, graph.i64(`${output}_sequence`, [1, -1, rows.count])]);
  const partial = rotary.dims === headDim ? {} : { rotary_embedding_dim: rotary.dims };
  const inputs = [sequence, 'positions', 'cos', 'sin'];
  const turned = graph.node('RotaryEmbedding', inputs, { num_heads: heads, ...partial });
  graph.node('Squeeze', [turned, graph.i64(`${output}_axis`, [0])], {}, output);
}

export function attentionInPiece(plan: PiecePlan, layer: number): OnnxGraph {
  const { spec, shard } = plan;
  const names = plan.names.layer(layer);
  const query = headRows(plan, shard.heads);
  const keyValue = headRows(plan, shard.kvHeads);
  const graph = new OnnxGraph(`layer ${layer} attention-in`);
  const normed = enter(graph, plan, layer);
  inputRows(graph, 'cos', spec.attention.rotary.dims / 2);
  inputRows(graph, 'sin', spec.attention.rotary.dims / 2);
  graph.input('positions', 'i64', [1, 'n']);
  const projections: readonly Projection[] = [
    { tensor: names.query, rows: query, headNorm: names.queryNorm, output: 'q' },
    { tensor: names.key, rows: keyValue, headNorm: names.keyNorm, output: 'k' },
  ];
  for (const projection of projections) {
    rotate(graph, plan, project(graph, plan, normed, projection), projection);
    outputRows(graph, projection.output, projection.rows.count);
  }
  project(graph, plan, normed, { tensor: names.value, rows: keyValue, output: 'v' }, 'v');
  outputRows(graph, 'v', keyValue.count);
  return graph;
}

/** Norm of the stream that enters a layer; the first layer takes it as the embedding left it. */
function enter(graph: OnnxGraph, plan: PiecePlan, layer: number): string {
  const width = plan.spec.hiddenSize;
  const tensor = plan.names.layer(layer).attentionNorm;
  const x = inputRows(graph, 'x', width);
  if (layer === 0) return norm(graph, plan, x, { tensor, width });
  return addNorm(graph, plan, { x, delta: inputRows(graph, 'delta', width) }, tensor);
}

/** Adds context [n, heads * headDim] x output projection -> this rank's part of [n, hidden]. */
export function projectOutput(graph: OnnxGraph, plan: PiecePlan, layer: number, output?: string): string {
  const query = headRows(plan, plan.shard.heads);
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
