/** What the builders of pieces share: the model, the rank's part of it, the weight format, and the layout they add to. */
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import type { RankShard } from '../../models/shard.ts';
import type { ModelSpec } from '../../models/spec.ts';
import { biasOf, type TensorNames } from '../../models/tensor-names.ts';
import { type Matrix, vector } from '../matrix.ts';
import { type Bits, blockSize, blocksPerRow, bytesPerBlock } from '../quantise.ts';
import type { WeightLayout } from '../weight-layout.ts';

export interface PiecePlan {
  readonly spec: ModelSpec;
  readonly names: TensorNames;
  readonly shard: RankShard;
  /** How the large matrices are stored; everything else is float32. */
  readonly format: 'float' | Bits;
  readonly layout: WeightLayout;
}

/** Declares a float32 [n, width] input or output: n rows of a step. */
export function inputRows(graph: OnnxGraph, name: string, width: number): string {
  return graph.input(name, 'f32', ['n', width]);
}

export function outputRows(graph: OnnxGraph, name: string, width: number): void {
  graph.output(name, 'f32', ['n', width]);
}

/**
 * rows [n, columns] x matrix^T -> [n, matrix rows], in the plan's format. Every choice gives a row the same bits whatever
 * rows are beside it: float matrices are packed when the session opens, which rules out the matrix-vector path, and
 * blocks are multiplied in int8 (accuracy level 4).
 */
export function linear(graph: OnnxGraph, plan: PiecePlan, rows: string, matrix: Matrix, output?: string): string {
  const name = `weight${plan.layout.weights.length}`;
  if (plan.format === 'float') return floatLinear(graph, plan, rows, matrix, output);
  const blocks = blocksPerRow(matrix.columns);
  const { values, scales } = plan.layout.blocks(matrix, plan.format);
  const inputs = [
    rows,
    graph.external(name, 'u8', [matrix.rows, blocks, bytesPerBlock(plan.format)], values),
    graph.external(`${name}_scales`, 'f32', [matrix.rows * blocks], scales),
  ];
  const attributes = {
    K: matrix.columns,
    N: matrix.rows,
    bits: plan.format,
    block_size: blockSize,
    accuracy_level: 4,
  };
  return graph.node('MatMulNBits', inputs, attributes, output);
}

/** As linear, but float32 whatever the plan's format. */
export function floatLinear(graph: OnnxGraph, plan: PiecePlan, rows: string, matrix: Matrix, output?: string): string {
  const weight = floatWeight(graph, plan, matrix, [matrix.rows, matrix.columns]);
  return graph.node('FusedMatMul', [rows, weight], { transB: 1 }, output);
}

export function floatWeight(graph: OnnxGraph, plan: PiecePlan, matrix: Matrix, dims: readonly number[]): string {
  const name = `weight${plan.layout.weights.length}`;
  return graph.external(name, 'f32', dims, plan.layout.float(matrix));
}

/** The whole of a stored vector, as a weight. */
export function vectorWeight(graph: OnnxGraph, plan: PiecePlan, tensor: string, count: number): string {
  return floatWeight(graph, plan, vector(tensor, { first: 0, count }), [count]);
}

/**
 * linear plus the bias beside `tensor`, where there is one. The output is a sum over ranks, so rank 0 alone adds it.
 */
export function outputLinear(
  graph: OnnxGraph,
  plan: PiecePlan,
  rows: string,
  matrix: Matrix,
  options: { readonly tensor: string; readonly bias: boolean; readonly output?: string },
): string {
  if (!options.bias || plan.shard.rank !== 0) return linear(graph, plan, rows, matrix, options.output);
  const product = linear(graph, plan, rows, matrix);
  const bias = vectorWeight(graph, plan, biasOf(options.tensor), matrix.rows);
  return graph.node('Add', [product, bias], {}, options.output);
}
