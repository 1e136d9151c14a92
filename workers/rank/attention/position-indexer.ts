/**
 * Chooses the positions that a row of sparse attention looks at (DeepSeek-V3.2): the best by
 * sum over index heads of weight * relu(query . key), all of those before it when they are few enough.
 */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import type { IndexerSpec } from '../../models/spec.ts';
import type { Io, Runtime, Session, Tensor } from '../../runtime/runtime.ts';
import type { CallRows } from './attention-core.ts';
import { type KvCache, paddedPositions } from './kv-cache.ts';
import { RowTensors } from './row-tensors.ts';
import { markBest } from './top-positions.ts';

/** Native code may read a vector's width beyond the end. */
const tailFloats = 64;

/** q [rows, heads, dim], k [positions, 1, dim], weights [rows, heads, 1] -> scores [rows, positions]. */
function scoreGraph({ heads, dim }: IndexerSpec & { kind: 'own' }): OnnxGraph {
  const graph = new OnnxGraph('index-scores');
  graph.input('q', 'f32', ['rows', heads, dim]);
  graph.input('k', 'f32', ['positions', 1, dim]);
  graph.input('weights', 'f32', ['rows', heads, 1]);
  const q = graph.node('Reshape', ['q', graph.i64('q_flat', [-1, dim])]);
  const k = graph.node('Reshape', ['k', graph.i64('k_flat', [-1, dim])]);
  const product = graph.node('FusedMatMul', [q, k], { transB: 1, alpha: { float: dim ** -0.5 } });
  const positions = graph.node('Gather', [graph.node('Shape', [k]), graph.i64('zero', [0])], { axis: 0 });
  const byHead = graph.node('Concat', [graph.i64('by_head', [-1, heads]), positions], { axis: 0 });
  const relevant = graph.node('Reshape', [graph.node('Relu', [product]), byHead]);
  const weighed = graph.node('Mul', [relevant, 'weights']);
  graph.node('ReduceSum', [weighed, graph.i64('head_axis', [1])], { keepdims: 0 }, 'scores');
  graph.output('scores', 'f32', ['rows', 'positions']);
  return graph;
}

export class PositionIndexer {
  readonly #runtime: Runtime;
  readonly #cache: KvCache;
  readonly #chosen: number;
  readonly #session: Session;
  readonly #io: Io;
  readonly #q: RowTensors;
  readonly #weights: RowTensors;
  /** By the first row of a call. */
  readonly #masks = new Map<number, Tensor>();
  #scores = new Float32Array(tailFloats);

  /** `q` and `weights` hold the rows of a step. */
  constructor(
    runtime: Runtime,
    spec: IndexerSpec & { kind: 'own' },
    rows: { readonly cache: KvCache; readonly q: Float32Array; readonly weights: Float32Array },
  ) {
    this.#runtime = runtime;
    this.#cache = rows.cache;
    this.#chosen = spec.chosen;
    this.#session = runtime.openSession('index-scores', scoreGraph(spec).encode(), '.');
    this.#io = runtime.io(['q', 'k', 'weights'], ['scores']);
    this.#q = new RowTensors(runtime, rows.q, [spec.heads, spec.dim]);
    this.#weights = new RowTensors(runtime, rows.weights, [spec.heads, 1]);
  }

  beginStep(): void {
    this.forget();
  }

  /** The layer before chose for itself and those that share its choice. */
  forget(): void {
    for (const mask of this.#masks.values()) mask.release();
    this.#masks.clear();
  }

  /** The rows' mask, where they do not see all positions before them. */
  maskAt(row: number): Tensor | undefined {
    return this.#masks.get(row);
  }

  /** The index keys of the rows are in the cache already. */
  choose(arena: number, slot: number, { first, row, rows }: CallRows): void {
    if (first + rows <= this.#chosen) return;
    const padded = paddedPositions(first + rows);
    const scores = this.#runtime.tensor(this.#scoresFor(rows * padded), [rows, padded]);
    this.#io.input(0, this.#q.rows(row, rows));
    this.#io.input(1, this.#cache.view(arena, slot, first + rows));
    this.#io.input(2, this.#weights.rows(row, rows));
    this.#io.output(0, scores);
    this.#session.run(this.#io);
    scores.release();
    const mask = new Float32Array(Math.max(tailFloats, rows * padded)).fill(Number.NEGATIVE_INFINITY);
    for (let i = 0; i < rows; i++) {
      const at = i * padded;
      markBest(this.#scores.subarray(at, at + first + i + 1), this.#chosen, mask.subarray(at));
    }
    this.#masks.set(row, this.#runtime.tensor(mask.subarray(0, rows * padded), [rows, padded]));
  }

  #scoresFor(count: number): Float32Array {
    if (this.#scores.length < count) this.#scores = new Float32Array(2 * count);
    return this.#scores.subarray(0, count);
  }
}
