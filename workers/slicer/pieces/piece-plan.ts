/** What the builders of pieces share: the model, the rank's part of it, the weight format, and the layout they add to. */
import type { Activations } from '../../models/manifest.ts';
import type { ExternalRange, OnnxGraph } from '../../models/onnx-graph.ts';
import type { Range, RankShard } from '../../models/shard.ts';
import type { ModelSpec } from '../../models/spec.ts';
import { biasOf } from '../../models/tensor-names.ts';
import type { KeptBlocks } from '../kept-integers.ts';
import { type Matrix, stack, vector } from '../matrix.ts';
import { type Bits, blockSize } from '../quantise.ts';
import type { WeightLayout } from '../weight-layout.ts';
import type { AdapterInputs } from './adapter-inputs.ts';

export interface PiecePlan {
  readonly spec: ModelSpec;
  readonly shard: RankShard;
  /** How the large matrices are stored; everything else is float32. */
  readonly format: 'float' | Bits;
  /** Blocks of those whose integers are kept instead. */
  keep(matrix: Matrix): KeptBlocks | undefined;
  /** How rows enter products with matrices in blocks. */
  readonly activations: Activations;
  readonly layout: WeightLayout;
  /** Of a piece that adds adapters to its products; undefined: it does not. */
  readonly adapters: AdapterInputs | undefined;
}

/** Declares a float32 [n, width] input or output: n rows of a step. */
export function inputRows(graph: OnnxGraph, name: string, width: number): string {
  return graph.input(name, 'f32', ['n', width]);
}

export function outputRows(graph: OnnxGraph, name: string, width: number): void {
  graph.output(name, 'f32', ['n', width]);
}

/** All columns of these rows of a tensor [out, columns]. */
export function rowsOf(tensor: string, rows: Range | readonly Range[], columns: number): Matrix {
  const ranges = Array.isArray(rows) ? (rows as readonly Range[]) : [rows as Range];
  return stack(ranges.map((range) => ({ tensor, rows: range, columns: { first: 0, count: columns } })));
}

/** These columns of all rows of a tensor [out, columns]. */
export function columnsOf(tensor: string, out: number, columns: Range): Matrix {
  return stack([{ tensor, rows: { first: 0, count: out }, columns }]);
}

/**
 * rows [n, columns] x matrix^T -> [n, matrix rows], by the matrix's own integers or in the plan's format. A row has the same bits
 * whatever rows are beside it: float matrices are packed when the session opens, which rules out the matrix-vector path, and
 * blocks are multiplied in int8 (accuracy level 4). Blocks times float32 (level 1) do not promise it.
 */
export function linear(graph: OnnxGraph, plan: PiecePlan, rows: string, matrix: Matrix, output?: string): string {
  const adapted = plan.adapters?.of(graph, rows, matrix);
  if (adapted === undefined) return baseLinear(graph, plan, rows, matrix, output);
  return graph.node('Add', [baseLinear(graph, plan, rows, matrix), adapted], {}, output);
}

function baseLinear(graph: OnnxGraph, plan: PiecePlan, rows: string, matrix: Matrix, output?: string): string {
  const kept = plan.keep(matrix);
  if (kept) return integerLinear(graph, plan, { rows, matrix, kept }, output);
  if (plan.format === 'float') return floatLinear(graph, plan, rows, matrix, output);
  const bits = plan.format;
  const { values, scales } = plan.layout.blocks(matrix, bits);
  return blockProduct(graph, plan, { rows, matrix, bits, blockSize, values, scales }, output);
}

/** By integers of the checkpoint; they may ask for the columns of `rows` in another order. */
function integerLinear(
  graph: OnnxGraph,
  plan: PiecePlan,
  { rows, matrix, kept }: { readonly rows: string; readonly matrix: Matrix; readonly kept: KeptBlocks },
  output?: string,
): string {
  const { values, scales, zeros } = plan.layout.integers(matrix, kept);
  const { bits, blockSize } = kept;
  const product = { matrix, bits, blockSize, values, scales, zeros } as const;
  if (!kept.reordered) return blockProduct(graph, plan, { ...product, rows }, output);
  const range = plan.layout.order(matrix.parts[0]!.tensor, matrix.columns);
  const order = graph.external(graph.unique('order'), 'i64', [matrix.columns], range);
  const reordered = graph.node('Gather', [rows, order], { axis: 1 });
  return blockProduct(graph, plan, { ...product, rows: reordered }, output);
}

interface BlockProduct {
  readonly rows: string;
  readonly matrix: Matrix;
  readonly bits: Bits;
  readonly blockSize: number;
  readonly values: ExternalRange;
  readonly scales: ExternalRange;
  readonly zeros?: ExternalRange | undefined;
}

function blockProduct(graph: OnnxGraph, plan: PiecePlan, product: BlockProduct, output?: string): string {
  const { rows, matrix, bits, blockSize: size, values, scales, zeros } = product;
  const name = graph.unique('weight');
  const blocks = Math.ceil(matrix.columns / size);
  const inputs = [
    rows,
    graph.external(name, 'u8', [matrix.rows, blocks, (size * bits) / 8], values),
    graph.external(`${name}_scales`, 'f32', [matrix.rows * blocks], scales),
    ...(zeros ? [graph.external(`${name}_zeros`, 'u8', [matrix.rows, Math.ceil(blocks / 2)], zeros)] : []),
  ];
  const accuracy_level = plan.activations === 'int8' ? 4 : 1;
  const attributes = { K: matrix.columns, N: matrix.rows, bits, block_size: size, accuracy_level };
  return graph.node('MatMulNBits', inputs, attributes, output);
}

/** As linear, but float32 whatever the plan's format. */
export function floatLinear(graph: OnnxGraph, plan: PiecePlan, rows: string, matrix: Matrix, output?: string): string {
  const weight = floatWeight(graph, plan, matrix, [matrix.rows, matrix.columns]);
  return graph.node('FusedMatMul', [rows, weight], { transB: 1 }, output);
}

/** `added` to every value: 1 for a norm that multiplies by 1 + weight. */
export function floatWeight(
  graph: OnnxGraph,
  plan: PiecePlan,
  matrix: Matrix,
  dims: readonly number[],
  added = 0,
): string {
  return graph.external(graph.unique('weight'), 'f32', dims, plan.layout.float(matrix, added));
}

/** The whole of a stored vector, as a weight. */
export function vectorWeight(graph: OnnxGraph, plan: PiecePlan, tensor: string, count: number, added = 0): string {
  return floatWeight(graph, plan, vector(tensor, { first: 0, count }), [count], added);
}

/** x [n, rows] plus the bias beside `tensor`. */
export function addBias(
  graph: OnnxGraph,
  plan: PiecePlan,
  x: string,
  tensor: string,
  rows: Range | readonly Range[],
  output?: string,
): string {
  const matrix = rowsOf(biasOf(tensor), rows, 1);
  return graph.node('Add', [x, floatWeight(graph, plan, matrix, [matrix.rows])], {}, output);
}

/**
 * a [h, n, inner] x b [h, inner, m], or with transB x b [h, m, inner]: a product per head. A single row would be a
 * matrix-vector product, which ONNX Runtime computes in another order unless alpha differs from 1: halve and double, both
 * exact. Doubled by an Add, because a Mul by a constant is folded back into alpha.
 */
export function headProduct(graph: OnnxGraph, a: string, b: string, transB: 0 | 1): string {
  const half = graph.node('FusedMatMul', [a, b], { transB, alpha: { float: 0.5 } });
  return graph.node('Add', [half, half]);
}
