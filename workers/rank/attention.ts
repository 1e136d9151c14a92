/**
 * Attention on one rank, written out: scores, mask, softmax, weighted sum, all KV heads in one call. Keys and values stay
 * in the order [position, head], which FusedMatMul reads with its batch dimension transposed, so appending a position is
 * one copy. One row and a chunk of many give the same bits: the products have the same inner lengths, masked
 * positions add exact zeros, and a single row never takes the matrix-vector path, whose sums run in another order.
 */
import { assert } from '#platform/assert.ts';
import { OnnxGraph } from '../models/onnx-graph.ts';
import type { Io, Runtime, Session, Tensor } from '../runtime/runtime.ts';
import { type ChunkRows, type KvCache, type KvView, paddedPositions } from './kv-cache.ts';

/** Rows of a chunk that go through attention together: their scores should fit the second-level cache. */
const rowsPerCall = 64;

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** Longest sequence, in positions. */
  readonly contextLength: number;
}

/**
 * Adds weights x v to the graph. One query head per KV head and one row would be a matrix-vector product, which ONNX Runtime
 * computes in another order unless alpha differs from 1: halve and double, both exact. Doubled by an Add, because a Mul by
 * a constant is folded back into alpha.
 */
function weightedSum(graph: OnnxGraph, weights: string, rowsPerHead: number | undefined, output: string): void {
  if (rowsPerHead !== 1) {
    graph.node('FusedMatMul', [weights, 'v'], { transBatchB: 1 }, output);
    return;
  }
  const half = graph.node('FusedMatMul', [weights, 'v'], { transBatchB: 1, alpha: { float: 0.5 } });
  graph.node('Add', [half, half], {}, output);
}

function scoresOf(graph: OnnxGraph, q: string, scale: number): string {
  return graph.node('FusedMatMul', [q, 'k'], { transB: 1, transBatchB: 1, alpha: { float: scale } });
}

function cacheInputs(graph: OnnxGraph, shape: AttentionShape): void {
  graph.input('k', 'f32', ['positions', shape.kvHeads, shape.headDim]);
  graph.input('v', 'f32', ['positions', shape.kvHeads, shape.headDim]);
}

/** q [kvHeads, heads per KV head, headDim], mask [1, positions] -> context, shaped as q. */
function oneRowGraph(shape: AttentionShape): OnnxGraph {
  const graph = new OnnxGraph('attention-row');
  const perKvHead = shape.heads / shape.kvHeads;
  const dims = [shape.kvHeads, perKvHead, shape.headDim];
  graph.input('q', 'f32', dims);
  cacheInputs(graph, shape);
  graph.input('mask', 'f32', [1, 'positions']);
  const scores = scoresOf(graph, 'q', shape.scale);
  const weights = graph.node('Softmax', [graph.node('Add', [scores, 'mask'])], { axis: -1 });
  weightedSum(graph, weights, perKvHead, 'context');
  graph.output('context', 'f32', dims);
  return graph;
}

/** q [rows, kvHeads, heads per KV head, headDim], mask [rows, positions] -> context, shaped as q. */
function chunkGraph(shape: AttentionShape): OnnxGraph {
  const graph = new OnnxGraph('attention-chunk');
  const perKvHead = shape.heads / shape.kvHeads;
  const dims = ['rows', shape.kvHeads, perKvHead, shape.headDim];
  graph.input('q', 'f32', dims);
  cacheInputs(graph, shape);
  graph.input('mask', 'f32', ['rows', 'positions']);
  // [kvHeads, perKvHead * rows, headDim]: one product per KV head
  const byHead = graph.node('Transpose', ['q'], { perm: [1, 2, 0, 3] });
  const flat = graph.node('Reshape', [byHead, graph.i64('flat', [shape.kvHeads, -1, shape.headDim])]);
  const scores = scoresOf(graph, flat, shape.scale);
  const lengths = graph.node('Shape', ['mask']);
  const split = graph.node('Concat', [graph.i64('heads', [shape.kvHeads, perKvHead]), lengths], { axis: 0 });
  const masked = graph.node('Add', [graph.node('Reshape', [scores, split]), 'mask']);
  const softmax = graph.node('Softmax', [masked], { axis: -1 });
  const weights = graph.node('Reshape', [softmax, graph.node('Shape', [scores])]);
  weightedSum(graph, weights, undefined, 'flat_context');
  const unflat = graph.node(
    'Concat',
    [
      graph.i64('heads_again', [shape.kvHeads, perKvHead]),
      graph.node('Gather', [lengths, graph.i64('zero', [0])], { axis: 0 }),
      graph.i64('width', [shape.headDim]),
    ],
    { axis: 0 },
  );
  graph.node('Transpose', [graph.node('Reshape', ['flat_context', unflat])], { perm: [2, 0, 1, 3] }, 'context');
  graph.output('context', 'f32', dims);
  return graph;
}

export class Attention {
  readonly #runtime: Runtime;
  readonly #shape: AttentionShape;
  readonly #cache: KvCache;
  readonly #one: Session;
  readonly #chunk: Session;
  readonly #io: Io;
  /** contextLength zeros, then a block of -infinity: every one-row mask is a view of it. */
  readonly #ramp: Float32Array;
  readonly #rowMasks = new Map<number, Tensor>();
  /** Chunk masks of this step by first position and rows: all layers share them. */
  readonly #chunkMasks = new Map<string, Tensor>();

  constructor(runtime: Runtime, shape: AttentionShape, cache: KvCache) {
    assert(shape.heads % shape.kvHeads === 0, 'query heads divide evenly among KV heads');
    this.#runtime = runtime;
    this.#shape = shape;
    this.#cache = cache;
    this.#one = runtime.openSession('attention-row', oneRowGraph(shape).encode(), '.');
    this.#chunk = runtime.openSession('attention-chunk', chunkGraph(shape).encode(), '.');
    this.#io = runtime.io(['q', 'k', 'v', 'mask'], ['context']);
    const zeros = paddedPositions(shape.contextLength);
    this.#ramp = new Float32Array(zeros + paddedPositions(1) + 64).fill(Number.NEGATIVE_INFINITY, zeros);
  }

  /** Forgets the masks of the step before. */
  beginStep(): void {
    for (const masks of [this.#rowMasks, this.#chunkMasks]) {
      for (const mask of masks.values()) mask.release();
      masks.clear();
    }
  }

  /** Context of one chunk's rows; their keys and values are in the cache already. `q` and `context` hold the step's rows. */
  run(layer: number, chunk: ChunkRows, q: RowTensors, context: RowTensors): void {
    for (let done = 0; done < chunk.rows; done += rowsPerCall) {
      const rows = Math.min(rowsPerCall, chunk.rows - done);
      const row = chunk.firstRow + done;
      const first = chunk.firstPosition + done;
      const view = this.#cache.view(layer, chunk.slot, first + rows);
      if (rows === 1) {
        this.#bind(q.row(row), view, this.#rowMask(first + 1), context.row(row));
        this.#one.run(this.#io);
      } else {
        this.#bind(q.rows(row, rows), view, this.#chunkMask(first, rows), context.rows(row, rows));
        this.#chunk.run(this.#io);
      }
    }
  }

  #bind(q: Tensor, view: KvView, mask: Tensor, context: Tensor): void {
    this.#io.input(0, q);
    this.#io.input(1, view.keys);
    this.#io.input(2, view.values);
    this.#io.input(3, mask);
    this.#io.output(0, context);
  }

  #rowMask(positions: number): Tensor {
    const known = this.#rowMasks.get(positions);
    if (known) return known;
    const padded = paddedPositions(positions);
    const start = paddedPositions(this.#shape.contextLength) - positions;
    const mask = this.#runtime.tensor(this.#ramp.subarray(start, start + padded), [1, padded]);
    this.#rowMasks.set(positions, mask);
    return mask;
  }

  #chunkMask(first: number, rows: number): Tensor {
    const key = `${first}:${rows}`;
    const known = this.#chunkMasks.get(key);
    if (known) return known;
    const padded = paddedPositions(first + rows);
    const data = new Float32Array(Math.max(64, rows * padded)).subarray(0, rows * padded);
    for (let row = 0; row < rows; row++)
      data.fill(Number.NEGATIVE_INFINITY, row * padded + first + row + 1, (row + 1) * padded);
    const mask = this.#runtime.tensor(data, [rows, padded]);
    this.#chunkMasks.set(key, mask);
    return mask;
  }
}

/** Views of rows of a [rows, kvHeads, heads per KV head, headDim] buffer, made once per place. */
export class RowTensors {
  readonly #runtime: Runtime;
  readonly #data: Float32Array;
  readonly #dims: readonly number[];
  readonly #width: number;
  readonly #single: Tensor[] = [];
  readonly #several = new Map<number, Tensor>();

  constructor(runtime: Runtime, data: Float32Array, dims: readonly number[]) {
    this.#runtime = runtime;
    this.#data = data;
    this.#dims = dims;
    this.#width = dims.reduce((product, size) => product * size, 1);
  }

  /** One row without a row dimension. */
  row(index: number): Tensor {
    const known = this.#single[index];
    if (known) return known;
    const tensor = this.#runtime.tensor(this.#slice(index, 1), this.#dims);
    this.#single[index] = tensor;
    return tensor;
  }

  rows(first: number, count: number): Tensor {
    const key = first * rowsPerCall * 2 + count;
    const known = this.#several.get(key);
    if (known) return known;
    const tensor = this.#runtime.tensor(this.#slice(first, count), [count, ...this.#dims]);
    this.#several.set(key, tensor);
    return tensor;
  }

  #slice(first: number, count: number): Float32Array {
    return this.#data.subarray(first * this.#width, (first + count) * this.#width);
  }
}
