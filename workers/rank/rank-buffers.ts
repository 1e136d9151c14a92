/** The memory of one rank's step, and the inputs and outputs of its pieces by name (workers/models/manifest.ts). */
import type { ShardManifest } from '../models/manifest.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { Io, Runtime, Tensor } from '../runtime/runtime.ts';
import { RowTensors } from './attention.ts';
import { Indices, Rows } from './step-tensors.ts';

export type RankBuffers = ReturnType<typeof createRankBuffers>;

/** Two buffers hold the residual stream in turn: `before` enters attention, `after` the MLP. */
export function createRankBuffers(runtime: Runtime, spec: ModelSpec, shard: ShardManifest, maxRows: number) {
  const rows = (width: number) => new Rows(runtime, maxRows, width);
  const { headDim, rotary } = spec.attention;
  const q = rows(shard.heads * headDim);
  const context = rows(shard.heads * headDim);
  const headDims = [shard.kvHeads, shard.heads / shard.kvHeads, headDim];
  const expertCounts = new Set(spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp.experts] : [])));
  const positions = new Indices(runtime, maxRows, (n) => [1, n]);
  for (let i = 0; i < maxRows; i++) positions.data[i] = BigInt(i);
  return {
    before: rows(spec.hiddenSize),
    after: rows(spec.hiddenSize),
    /** What the ranks summed last and nobody has added to the stream yet. */
    delta: rows(spec.hiddenSize),
    hidden: rows(spec.hiddenSize),
    headIn: rows(spec.hiddenSize),
    headDelta: rows(spec.hiddenSize),
    cos: rows(rotary.dims / 2),
    sin: rows(rotary.dims / 2),
    k: rows(shard.kvHeads * headDim),
    v: rows(shard.kvHeads * headDim),
    q,
    context,
    qRows: new RowTensors(runtime, q.data, headDims),
    contextRows: new RowTensors(runtime, context.data, headDims),
    scores: new Map([...expertCounts].map((count) => [count, rows(count)])),
    positions,
    ids: new Indices(runtime, maxRows, (n) => [n]),
  };
}

export type RankIo = ReturnType<typeof createRankIo>;

export function createRankIo(runtime: Runtime) {
  return {
    embed: runtime.io(['ids'], ['x']),
    attentionInFirst: runtime.io(['x', 'cos', 'sin', 'positions'], ['q', 'k', 'v']),
    attentionIn: runtime.io(['x', 'delta', 'cos', 'sin', 'positions'], ['residual', 'q', 'k', 'v']),
    attentionOut: runtime.io(['context'], ['partial']),
    mlp: runtime.io(['x', 'delta'], ['residual', 'partial']),
    router: runtime.io(['x', 'delta'], ['residual', 'hidden', 'scores']),
    joinedMlp: runtime.io(['context', 'x'], ['residual', 'partial']),
    joinedRouter: runtime.io(['context', 'x'], ['residual', 'hidden', 'scores']),
    head: runtime.io(['x', 'delta'], ['logits']),
  };
}

/** Binds everything that depends on the number of rows only. */
export function bindRows(io: RankIo, buffers: RankBuffers, n: number): void {
  const first = (rows: Rows): Tensor => rows.first(n);
  const { before, after, delta, cos, sin, positions, q, k, v, context, hidden } = buffers;
  const places = positions.first(n);
  bind(io.attentionInFirst, [first(before), first(cos), first(sin), places], [q, k, v].map(first));
  bind(io.attentionIn, [first(after), first(delta), first(cos), first(sin), places], [before, q, k, v].map(first));
  bind(io.attentionOut, [first(context)], []);
  bind(io.mlp, [first(before), first(delta)], [first(after)]);
  bind(io.router, [first(before), first(delta)], [first(after), first(hidden)]);
  bind(io.joinedMlp, [first(context), first(before)], [first(after), first(delta)]);
  bind(io.joinedRouter, [first(context), first(before)], [first(after), first(hidden)]);
}

function bind(io: Io, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
  for (const [i, tensor] of inputs.entries()) io.input(i, tensor);
  for (const [i, tensor] of outputs.entries()) io.output(i, tensor);
}
