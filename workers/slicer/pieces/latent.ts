/**
 * The linear parts before multi-head latent attention, absorbed: a query is multiplied into the latent's space, so that all
 * heads read one key a position, the latent beside the rotated key, and its value is that same latent.
 */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { evenRange, type Range } from '../../models/shard.ts';
import type { IndexerSpec, LatentSpec } from '../../models/spec.ts';
import { biasOf, tensorNames } from '../../models/tensor-names.ts';
import { enterLayer, norm } from './norm.ts';
import {
  floatLinear,
  floatWeight,
  headProduct,
  linear,
  outputRows,
  type PiecePlan,
  rowsOf,
  vectorWeight,
} from './piece-plan.ts';
import { rotate, rotationInputs } from './rotation.ts';

/** Of the LayerNorm of index keys, in every implementation. */
const indexNormEpsilon = 1e-6;

/** This rank's heads within kv_b_proj: each has the rows of its key, then those of its value. */
export function upRows({ shard }: PiecePlan, spec: LatentSpec, part: 'key' | 'value'): readonly Range[] {
  const { plainDim, valueDim } = spec;
  const { first, count } = evenRange(spec.heads, shard);
  return Array.from({ length: count }, (_, i) => {
    const start = (first + i) * (plainDim + valueDim);
    return part === 'key' ? { first: start, count: plainDim } : { first: start + plainDim, count: valueDim };
  });
}

export function latentInPiece(plan: PiecePlan, layer: number, spec: LatentSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-in`);
  const normed = enterLayer(graph, plan, layer, tensorNames.layer(layer).attentionNorm);
  rotationInputs(graph, plan);
  const source = querySource(graph, plan, normed, layer, spec);
  queries(graph, plan, source, layer, spec);
  keys(graph, plan, normed, layer, spec);
  if (spec.indexer?.kind === 'own') indexer(graph, plan, { normed, latent: source.rows }, layer, spec.indexer);
  return graph;
}

interface QuerySource {
  readonly rows: string;
  readonly width: number;
  /** The projection from it to the heads. */
  readonly tensor: string;
}

/** The queries' own latent where there is one, else the stream. */
function querySource(graph: OnnxGraph, plan: PiecePlan, normed: string, layer: number, spec: LatentSpec): QuerySource {
  const names = tensorNames.layer(layer).latent;
  const { hiddenSize } = plan.spec;
  const { queryRank, latentNormEpsilon: epsilon } = spec;
  if (queryRank === null) return { rows: normed, width: hiddenSize, tensor: names.query };
  const down = linear(graph, plan, normed, rowsOf(names.queryDown, { first: 0, count: queryRank }, hiddenSize));
  const rows = norm(graph, plan, down, { tensor: names.queryNorm, width: queryRank, epsilon });
  return { rows, width: queryRank, tensor: names.queryUp };
}

/** Yields q [n, heads*(latent+dims)]. */
function queries(graph: OnnxGraph, plan: PiecePlan, source: QuerySource, layer: number, spec: LatentSpec): void {
  const { plainDim, latent } = spec;
  const { dims, pairs } = plan.spec.rotary;
  const heads = evenRange(spec.heads, plan.shard);
  const headDim = plainDim + dims;
  const rows = { first: heads.first * headDim, count: heads.count * headDim };
  const product = linear(graph, plan, source.rows, rowsOf(source.tensor, rows, source.width));
  const byHead = graph.node('Reshape', [product, graph.i64('q_by_head', [-1, heads.count, headDim])]);
  const [plain, turning] = graph.split(byHead, 2, [plainDim, dims]);
  const headsFirst = graph.node('Transpose', [plain!], { perm: [1, 0, 2] });
  const up = rowsOf(tensorNames.layer(layer).latent.keyValueUp, upRows(plan, spec, 'key'), latent);
  const absorbed = headProduct(graph, headsFirst, floatWeight(graph, plan, up, [heads.count, plainDim, latent]), 0);
  const rowsFirst = graph.node('Transpose', [absorbed], { perm: [1, 0, 2] });
  const turned = rotate(graph, plan, turning!, { heads: heads.count, headDim: dims, pairs, name: 'q' });
  const turnedHeads = graph.node('Reshape', [turned, graph.i64('q_turned', [-1, heads.count, dims])]);
  const joined = graph.node('Concat', [rowsFirst, turnedHeads], { axis: 2 });
  const width = heads.count * (latent + dims);
  graph.node('Reshape', [joined, graph.i64('q_flat', [-1, width])], {}, 'q');
  outputRows(graph, 'q', width);
}

/** Yields k [n, latent+dims], the same on every rank. */
function keys(graph: OnnxGraph, plan: PiecePlan, normed: string, layer: number, spec: LatentSpec): void {
  const names = tensorNames.layer(layer).latent;
  const { latent, latentNormEpsilon: epsilon } = spec;
  const { dims, pairs } = plan.spec.rotary;
  const down = rowsOf(names.keyValueDown, { first: 0, count: latent + dims }, plan.spec.hiddenSize);
  const [shared, turning] = graph.split(linear(graph, plan, normed, down), 1, [latent, dims]);
  const content = norm(graph, plan, shared!, { tensor: names.keyValueNorm, width: latent, epsilon });
  const turned = rotate(graph, plan, turning!, { heads: 1, headDim: dims, pairs, name: 'k' });
  graph.node('Concat', [content, turned], { axis: 1 }, 'k');
  outputRows(graph, 'k', latent + dims);
}

/**
 * Yields index_q, index_k and index_weights, the same on every rank, which must all choose alike. Keys and weights decide what
 * is attended to, as a router does, and stay float.
 */
function indexer(
  graph: OnnxGraph,
  plan: PiecePlan,
  rows: { readonly normed: string; readonly latent: string },
  layer: number,
  { heads, dim, pairs }: IndexerSpec & { kind: 'own' },
): void {
  const { queryRank } = plan.spec.layers[layer]!.attention as LatentSpec;
  const names = tensorNames.layer(layer).latent.indexer;
  const { hiddenSize } = plan.spec;
  const width = heads * dim;
  const query = linear(
    graph,
    plan,
    rows.latent,
    rowsOf(names.query, { first: 0, count: width }, queryRank ?? hiddenSize),
  );
  rotate(graph, plan, query, { heads, headDim: dim, pairs, name: 'index_q' }, 'index_q');
  outputRows(graph, 'index_q', width);
  const key = floatLinear(graph, plan, rows.normed, rowsOf(names.key, { first: 0, count: dim }, hiddenSize));
  const scale = vectorWeight(graph, plan, names.keyNorm, dim);
  const bias = vectorWeight(graph, plan, biasOf(names.keyNorm), dim);
  const attributes = { axis: -1, epsilon: { float: indexNormEpsilon } };
  const normedKey = graph.node('LayerNormalization', [key, scale, bias], attributes);
  rotate(graph, plan, normedKey, { heads: 1, headDim: dim, pairs, name: 'index_k' }, 'index_k');
  outputRows(graph, 'index_k', dim);
  floatLinear(graph, plan, rows.normed, rowsOf(names.weights, { first: 0, count: heads }, hiddenSize), 'index_weights');
  outputRows(graph, 'index_weights', heads);
}

/** context [n, heads*(latent+dims)] -> [n, heads*valueDim]; of the rotated key's part nothing is a value. */
export function latentValues(graph: OnnxGraph, plan: PiecePlan, layer: number, spec: LatentSpec, context: string) {
  const { latent, valueDim } = spec;
  const { dims } = plan.spec.rotary;
  const { count } = evenRange(spec.heads, plan.shard);
  const byHead = graph.node('Reshape', [context, graph.i64('context_by_head', [-1, count, latent + dims])]);
  const [content] = graph.split(byHead, 2, [latent, dims]);
  const headsFirst = graph.node('Transpose', [content!], { perm: [1, 0, 2] });
  const up = rowsOf(tensorNames.layer(layer).latent.keyValueUp, upRows(plan, spec, 'value'), latent);
  const values = headProduct(graph, headsFirst, floatWeight(graph, plan, up, [count, valueDim, latent]), 1);
  const rowsFirst = graph.node('Transpose', [values], { perm: [1, 0, 2] });
  return graph.node('Reshape', [rowsFirst, graph.i64('values_flat', [-1, count * valueDim])]);
}
