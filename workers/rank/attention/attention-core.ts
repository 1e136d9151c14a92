/**
 * Attention on one rank, written out: scores, mask, softmax, weighted sum, all KV heads in one call. Keys and values stay
 * in the order [position, head], which FusedMatMul reads with its batch dimension transposed, so appending a position is
 * one copy. One row and a chunk of many give the same bits: the products have the same inner lengths, masked
 * positions add exact zeros, and a single row never takes the matrix-vector path, whose sums run in another order.
 */
import { assert } from '#platform/assert.ts';
import { OnnxGraph } from '../../models/onnx-graph.ts';
import type { Io, Runtime, Session, Tensor } from '../../runtime/runtime.ts';
import type { ChunkRows, KvCache } from './kv-cache.ts';
import { type RowTensors, rowsPerCall } from './row-tensors.ts';

export interface AttentionShape {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
  /** A logit per head takes part in the softmax and stands for no position. */
  readonly sinks: boolean;
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

/**
 * Softmax over the positions, and over the sinks beside them: one column more that is cut off again. `rows` is the shape of
 * one column of the scores.
 */
function softmax(graph: OnnxGraph, shape: AttentionShape, masked: string, column: string): string {
  if (!shape.sinks) return graph.node('Softmax', [masked], { axis: -1 });
  const sinks = graph.node('Expand', ['sinks', column]);
  const weights = graph.node('Softmax', [graph.node('Concat', [masked, sinks], { axis: -1 })], { axis: -1 });
  const [start, end, axis] = [graph.i64('cut_start', [0]), graph.i64('cut_end', [-1]), graph.i64('cut_axis', [-1])];
  return graph.node('Slice', [weights, start, end, axis]);
}

/** q [kvHeads, heads per KV head, headDim], mask [1, positions] -> context, shaped as q. */
function oneRowGraph(shape: AttentionShape): OnnxGraph {
  const graph = new OnnxGraph('attention-row');
  const perKvHead = shape.heads / shape.kvHeads;
  const dims = [shape.kvHeads, perKvHead, shape.headDim];
  graph.input('q', 'f32', dims);
  cacheInputs(graph, shape);
  graph.input('mask', 'f32', [1, 'positions']);
  if (shape.sinks) graph.input('sinks', 'f32', [shape.kvHeads, perKvHead, 1]);
  const masked = graph.node('Add', [scoresOf(graph, 'q', shape.scale), 'mask']);
  const weights = softmax(graph, shape, masked, graph.i64('column', [shape.kvHeads, perKvHead, 1]));
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
  if (shape.sinks) graph.input('sinks', 'f32', [shape.kvHeads, perKvHead, 1, 1]);
  const rows = graph.node('Gather', [lengths, graph.i64('zero', [0])], { axis: 0 });
  const column = graph.node(
    'Concat',
    [graph.i64('column_heads', [shape.kvHeads, perKvHead]), rows, graph.i64('one', [1])],
    {
      axis: 0,
    },
  );
  const shares = softmax(graph, shape, masked, column);
  const weights = graph.node('Reshape', [shares, graph.node('Shape', [scores])]);
  weightedSum(graph, weights, undefined, 'flat_context');
  const unflat = graph.node(
    'Concat',
    [graph.i64('heads_again', [shape.kvHeads, perKvHead]), rows, graph.i64('width', [shape.headDim])],
    { axis: 0 },
  );
  graph.node('Transpose', [graph.node('Reshape', ['flat_context', unflat])], { perm: [2, 0, 1, 3] }, 'context');
  graph.output('context', 'f32', dims);
  return graph;
}

/** What of the cache a layer attends to. */
export interface AttendedArenas {
  readonly keys: number;
  /** The same as `keys` where a position's key is its value too. */
  readonly values: number;
}

/** -infinity where a row must not look, [rows, positions rounded up to a block]: of rows from position `first`, `row` of the step. */
export type MaskOf = (first: number, rows: number, row: number) => Tensor;

/** Logits per head, shaped for one row and for several. */
export interface Sinks {
  readonly one: Tensor;
  readonly several: Tensor;
}

export class AttentionCore {
  readonly #cache: KvCache;
  readonly #one: Session;
  readonly #chunk: Session;
  readonly #io: Io;

  constructor(runtime: Runtime, shape: AttentionShape, cache: KvCache) {
    assert(shape.heads % shape.kvHeads === 0, 'query heads divide evenly among KV heads');
    this.#cache = cache;
    this.#one = runtime.openSession('attention-row', oneRowGraph(shape).encode(), '.');
    this.#chunk = runtime.openSession('attention-chunk', chunkGraph(shape).encode(), '.');
    this.#io = runtime.io(['q', 'k', 'v', 'mask', ...(shape.sinks ? ['sinks'] : [])], ['context']);
  }

  /** Context of one chunk's rows; their keys and values are in the cache already. `q` and `context` hold the step's rows. */
  run(
    arenas: AttendedArenas,
    chunk: ChunkRows,
    tensors: { readonly q: RowTensors; readonly context: RowTensors; readonly maskOf: MaskOf; readonly sinks?: Sinks },
  ): void {
    const { q, context, maskOf, sinks } = tensors;
    for (const { first, row, rows } of callsOf(chunk)) {
      const one = rows === 1;
      this.#io.input(0, one ? q.row(row) : q.rows(row, rows));
      this.#io.input(1, this.#cache.view(arenas.keys, chunk.slot, first + rows));
      this.#io.input(2, this.#cache.view(arenas.values, chunk.slot, first + rows));
      this.#io.input(3, maskOf(first, rows, row));
      if (sinks) this.#io.input(4, one ? sinks.one : sinks.several);
      this.#io.output(0, one ? context.row(row) : context.rows(row, rows));
      (one ? this.#one : this.#chunk).run(this.#io);
    }
  }
}

/** Rows that go through attention together: their first position, first row of the step, and number. */
export interface CallRows {
  readonly first: number;
  readonly row: number;
  readonly rows: number;
}

export function* callsOf(chunk: ChunkRows): Generator<CallRows> {
  for (let done = 0; done < chunk.rows; done += rowsPerCall) {
    const rows = Math.min(rowsPerCall, chunk.rows - done);
    yield { first: chunk.firstPosition + done, row: chunk.firstRow + done, rows };
  }
}
