/** The linear parts before grouped-query attention: norm, queries, keys and values, their norms and rotation. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { normsAcrossRanks } from '../../models/pieces.ts';
import { evenRange, kvHeadRange, type Range } from '../../models/shard.ts';
import type { GroupedSpec } from '../../models/spec.ts';
import { tensorNames } from '../../models/tensor-names.ts';
import type { Matrix } from '../matrix.ts';
import { enterLayer, norm, normBySum, squareSum } from './norm.ts';
import { addBias, inputRows, linear, outputRows, type PiecePlan, rowsOf } from './piece-plan.ts';
import { rotate, rotationInputs } from './rotation.ts';

/** Queries or keys: what is normalised and rotated. */
interface Turned {
  readonly name: 'q' | 'k';
  readonly tensor: string;
  readonly normTensor: string;
  readonly heads: Range;
  /** Of all ranks together. */
  readonly allHeads: number;
  readonly rows: readonly Range[];
}

function byHeads(heads: Range, headDim: number): Range {
  return { first: heads.first * headDim, count: heads.count * headDim };
}

/** A gated query projection has two times headDim rows a head; `part` 0 is the query, 1 the gate. */
function gatedRows(heads: Range, headDim: number, part: 0 | 1): readonly Range[] {
  return Array.from({ length: heads.count }, (_, i) => ({
    first: (2 * (heads.first + i) + part) * headDim,
    count: headDim,
  }));
}

function turnedOf({ shard }: PiecePlan, layer: number, spec: GroupedSpec): readonly [Turned, Turned] {
  const names = tensorNames.layer(layer).grouped;
  const { heads: allHeads, kvHeads: allKvHeads, headDim, gated } = spec;
  const heads = evenRange(allHeads, shard);
  const kvHeads = kvHeadRange(allKvHeads, shard);
  const rows = gated ? gatedRows(heads, headDim, 0) : [byHeads(heads, headDim)];
  const keyRows = [byHeads(kvHeads, headDim)];
  return [
    { name: 'q', tensor: names.query, normTensor: names.queryNorm, heads, allHeads, rows },
    { name: 'k', tensor: names.key, normTensor: names.keyNorm, heads: kvHeads, allHeads: allKvHeads, rows: keyRows },
  ];
}

/**
 * Queries, keys and values are three products. One for all three would have to be split again, which takes longer than
 * quantising the input three times does.
 */
function project(
  graph: OnnxGraph,
  plan: PiecePlan,
  normed: string,
  projection: { readonly tensor: string; readonly rows: readonly Range[]; readonly bias: boolean },
  output?: string,
): string {
  const { tensor, rows, bias } = projection;
  const matrix = rowsOf(tensor, rows, plan.spec.hiddenSize);
  if (!bias) return linear(graph, plan, normed, matrix, output);
  return addBias(graph, plan, linear(graph, plan, normed, matrix), tensor, rows, output);
}

/** Norm of each head of x [n, heads*headDim] -> [1, n, heads, headDim]. */
function normHeads(graph: OnnxGraph, plan: PiecePlan, x: string, { name, heads, normTensor }: Turned, headDim: number) {
  const byHead = graph.node('Reshape', [x, graph.i64(`${name}_by_head`, [1, -1, heads.count, headDim])]);
  return norm(graph, plan, byHead, { tensor: normTensor, width: headDim });
}

/** Norms and rotation of x [n, heads*headDim] as the layer has them; the last of them yields `output`. */
function finish(graph: OnnxGraph, plan: PiecePlan, x: string, turned: Turned, spec: GroupedSpec, output: string): void {
  const { headDim } = spec;
  const { name, heads } = turned;
  const rotated = { heads: heads.count, headDim, pairs: plan.spec.rotary.pairs, name };
  if (spec.norm === 'after-rotation') {
    const normed = normHeads(graph, plan, rotate(graph, plan, x, rotated), turned, headDim);
    graph.node('Reshape', [normed, graph.i64(`${name}_flat`, [-1, heads.count * headDim])], {}, output);
  } else if (spec.norm === 'before-rotation') {
    rotate(graph, plan, normHeads(graph, plan, x, turned, headDim), rotated, output);
  } else rotate(graph, plan, x, rotated, output);
}

function wholeNorm(graph: OnnxGraph, plan: PiecePlan, x: string, sum: string, turned: Turned, headDim: number): string {
  const weight: Matrix = rowsOf(turned.normTensor, byHeads(turned.heads, headDim), 1);
  return normBySum(graph, plan, { x, sum, terms: turned.allHeads * headDim, weight });
}

export function groupedInPiece(plan: PiecePlan, layer: number, spec: GroupedSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-in`);
  const names = tensorNames.layer(layer);
  const { headDim, inputBias: bias } = spec;
  const normed = enterLayer(graph, plan, layer, names.attentionNorm);
  const turned = turnedOf(plan, layer, spec);
  const heads = turned[0].heads;
  if (normsAcrossRanks(spec, plan.shard.ranks)) partsToNorm(graph, plan, normed, turned, spec);
  else {
    rotationInputs(graph, plan);
    for (const part of turned) {
      const product = project(graph, plan, normed, { ...part, bias });
      const sum = (): string => squareSum(graph, product);
      const x = spec.norm === 'whole' ? wholeNorm(graph, plan, product, sum(), part, headDim) : product;
      finish(graph, plan, x, part, spec, part.name);
      outputRows(graph, part.name, part.heads.count * headDim);
    }
  }
  const values = byHeads(turned[1].heads, headDim);
  project(graph, plan, normed, { tensor: names.grouped.value, rows: [values], bias }, 'v');
  outputRows(graph, 'v', values.count);
  if (spec.gated) {
    project(graph, plan, normed, { tensor: names.grouped.query, rows: gatedRows(heads, headDim, 1), bias }, 'gate');
    outputRows(graph, 'gate', heads.count * headDim);
  }
  return graph;
}

/** Queries and keys as they are, and the sums of their squares, of which several ranks may hold the same KV head. */
function partsToNorm(
  graph: OnnxGraph,
  plan: PiecePlan,
  normed: string,
  turned: readonly Turned[],
  spec: GroupedSpec,
): void {
  const sums = turned.map((part) => {
    project(graph, plan, normed, { ...part, bias: spec.inputBias }, part.name);
    outputRows(graph, part.name, part.heads.count * spec.headDim);
    const holders = (part.heads.count * plan.shard.ranks) / part.allHeads;
    return graph.node('Mul', [squareSum(graph, part.name), graph.f32(`${part.name}_holders`, [1 / holders])]);
  });
  graph.node('Concat', sums, { axis: 1 }, 'squares');
  outputRows(graph, 'squares', 2);
}

export function groupedNormPiece(plan: PiecePlan, layer: number, spec: GroupedSpec): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-norm`);
  const turned = turnedOf(plan, layer, spec);
  for (const { name, heads } of turned) inputRows(graph, name, heads.count * spec.headDim);
  const squares = inputRows(graph, 'squares', 2);
  rotationInputs(graph, plan);
  for (const [i, part] of turned.entries()) {
    const sum = graph.node('Gather', [squares, graph.i64(`${part.name}_column`, [i])], { axis: 1 });
    const x = wholeNorm(graph, plan, part.name, sum, part, spec.headDim);
    const output = `${part.name}_rotated`;
    finish(graph, plan, x, part, spec, output);
    outputRows(graph, output, part.heads.count * spec.headDim);
  }
  return graph;
}
