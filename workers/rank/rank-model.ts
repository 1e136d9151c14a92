/**
 * One rank's slice of the model: runs a step's rows through every layer, meeting the other ranks twice a layer. Decides
 * nothing about what runs (the plan does) and computes nothing itself: graphs come from the package, sums from the
 * collective.
 *
 * Two buffers hold the residual stream in turn: `before` enters attention, `after` enters the experts; a piece adds
 * `delta`, what the ranks summed last, on its way in.
 */
import { assert } from '#platform/assert.ts';
import type { Collective } from '../collectives/collective.ts';
import type { KvCopy, StepPlan } from '../engine/step.ts';
import { type Manifest, pieceNames, type ShardManifest } from '../models/manifest.ts';
import { RotaryTable } from '../models/rotary.ts';
import { chooseExperts } from '../models/routing.ts';
import type { ExpertsSpec, LayerSpec, ModelSpec } from '../models/spec.ts';
import type { Io, Runtime, Session } from '../runtime/runtime.ts';
import { Attention, type ChunkRows, RowTensors } from './attention.ts';
import { type ExpertChoice, ExpertRunner } from './experts.ts';
import { KvCache } from './kv-cache.ts';
import { BorrowedRows, Indices, Rows } from './step-tensors.ts';

export interface RankModelOptions {
  readonly runtime: Runtime;
  readonly manifest: Manifest;
  readonly shard: ShardManifest;
  /** Opens the session of a piece. */
  readonly piece: (name: string) => Session;
  readonly collective: Collective;
  /** Blocks of the KV cache, slots, and rows of the largest step. */
  readonly blocks: number;
  readonly slots: number;
  readonly maxRows: number;
}

/** Sees the inside of a forward pass, for verification: the residual stream [rows, hidden] after a layer, and its routing. */
export type LayerTap = (
  layer: number,
  residual: (row: number) => Float32Array,
  choice: ExpertChoice | undefined,
) => void;

interface LayerSessions {
  readonly spec: LayerSpec;
  readonly attentionIn: Session;
  /** Absent when joined with what follows. */
  readonly attentionOut: Session | undefined;
  /** Dense: the whole MLP. Experts: norm and router scores. Joined with attention-out in a group of one rank. */
  readonly mlp: Session;
  readonly experts: readonly Session[];
}

export class RankModel {
  readonly spec: ModelSpec;
  readonly #shard: ShardManifest;
  readonly #collective: Collective;
  readonly #joined: boolean;
  readonly #layers: readonly LayerSessions[];
  readonly #embed: Session;
  readonly #head: Session;
  readonly #cache: KvCache;
  readonly #attention: Attention;
  readonly #experts: ExpertRunner | undefined;
  readonly #rotary: RotaryTable;
  readonly #parts: BorrowedRows;
  readonly #runtime: Runtime;
  readonly #rows: ReturnType<typeof createRows>;
  readonly #io: ReturnType<typeof createIo>;
  readonly #choice: ExpertChoice | undefined;
  tap: LayerTap | undefined;

  constructor(options: RankModelOptions) {
    const { runtime, manifest, shard, collective, maxRows } = options;
    this.spec = manifest.spec;
    this.#runtime = runtime;
    this.#shard = shard;
    this.#collective = collective;
    this.#joined = collective.ranks === 1;
    this.#embed = options.piece(pieceNames.embed);
    this.#layers = this.spec.layers.map((spec, layer) => this.#openLayer(spec, layer, options.piece));
    this.#head = options.piece(pieceNames.head);
    const { attention, contextLength, hiddenSize } = this.spec;
    const { headDim } = attention;
    const { heads, kvHeads } = shard;
    const { blocks, slots } = options;
    this.#cache = new KvCache(runtime, { layers: this.#layers.length, kvHeads, headDim, blocks, slots });
    this.#attention = new Attention(
      runtime,
      { heads, kvHeads, headDim, scale: headDim ** -0.5, contextLength },
      this.#cache,
    );
    this.#rotary = new RotaryTable(attention.rotary);
    this.#parts = new BorrowedRows(runtime, hiddenSize);
    const sparse = widestExperts(this.spec);
    this.#rows = createRows(runtime, this.spec, shard, maxRows, sparse?.experts ?? 0);
    this.#io = createIo(runtime);
    if (sparse) {
      const { experts, chosen } = sparse;
      this.#experts = new ExpertRunner(runtime, { maxRows, hidden: hiddenSize, experts, chosen });
      this.#choice = { experts: new Int32Array(maxRows * chosen), weights: new Float32Array(maxRows * chosen) };
    } else {
      this.#experts = undefined;
      this.#choice = undefined;
    }
  }

  /** Applies a plan's releases and copies and makes room for its rows. */
  prepare(plan: StepPlan): void {
    for (const slot of plan.release) this.#cache.release(slot);
    for (const copy of plan.copies) this.#copy(copy);
    for (const chunk of plan.chunks) this.#cache.reserve(chunk.slot, chunk.firstPosition + chunk.tokens.length);
  }

  /** Runs all rows through all layers. Afterwards logits() may be asked for any of them. */
  forward(plan: StepPlan): void {
    const chunks = placeRows(plan);
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    this.#attention.beginStep();
    this.#fillRotary(chunks);
    this.#bindStep(rows);
    this.#embedTokens(plan, rows);
    for (let layer = 0; layer < this.#layers.length; layer++) {
      this.#runLayer(layer, chunks, rows);
      this.tap?.(layer, (row) => this.#residual(row), this.#choiceOf(layer, rows));
    }
  }

  /** Logits of the given rows of the last forward, [rows, padded shard of the vocabulary]; valid until the next call. */
  logits(wanted: readonly number[]): Rows {
    const { after, delta, headIn, headDelta } = this.#rows;
    const contiguous = wanted.every((row, i) => row === i);
    for (const [i, row] of contiguous ? [] : wanted.entries()) {
      headIn.data.set(after.row(row), i * headIn.width);
      headDelta.data.set(delta.row(row), i * headDelta.width);
    }
    const logits = this.#logitRows(wanted.length);
    this.#io.head.input(0, (contiguous ? after : headIn).first(wanted.length));
    this.#io.head.input(1, (contiguous ? delta : headDelta).first(wanted.length));
    this.#io.head.output(0, logits.first(wanted.length));
    this.#head.run(this.#io.head);
    return logits;
  }

  get vocabulary(): ShardManifest['vocabulary'] {
    return this.#shard.vocabulary;
  }

  #openLayer(spec: LayerSpec, layer: number, piece: (name: string) => Session): LayerSessions {
    const dense = spec.mlp.kind === 'dense';
    const joinedName = dense ? pieceNames.attentionOutMlp(layer) : pieceNames.attentionOutRouter(layer);
    const aloneName = dense ? pieceNames.mlp(layer) : pieceNames.router(layer);
    const experts = spec.mlp.kind === 'experts' ? spec.mlp.experts : 0;
    return {
      spec,
      attentionIn: piece(pieceNames.attentionIn(layer)),
      attentionOut: this.#joined ? undefined : piece(pieceNames.attentionOut(layer)),
      mlp: piece(this.#joined ? joinedName : aloneName),
      experts: Array.from({ length: experts }, (_, expert) => piece(pieceNames.expert(layer, expert))),
    };
  }

  #copy(copy: KvCopy): void {
    this.#cache.copy(copy.from, copy.to, copy.positions);
  }

  #fillRotary(chunks: readonly ChunkRows[]): void {
    const { cos, sin } = this.#rows;
    for (const chunk of chunks) {
      for (let i = 0; i < chunk.rows; i++) {
        this.#rotary.fill(chunk.firstPosition + i, cos.data, sin.data, (chunk.firstRow + i) * cos.width);
      }
    }
  }

  /** Everything that depends on the number of rows only. */
  #bindStep(n: number): void {
    const { before, after, delta, cos, sin, positions, q, k, v, context, hidden } = this.#rows;
    const io = this.#io;
    bind(
      io.attentionInFirst,
      [before, cos, sin].map((rows) => rows.first(n)),
      [q, k, v].map((rows) => rows.first(n)),
    );
    io.attentionInFirst.input(3, positions.first(n));
    bind(
      io.attentionIn,
      [after, delta, cos, sin].map((rows) => rows.first(n)),
      [before, q, k, v].map((rows) => rows.first(n)),
    );
    io.attentionIn.input(4, positions.first(n));
    io.attentionOut.input(0, context.first(n));
    bind(io.mlp, [before.first(n), delta.first(n)], [after.first(n)]);
    bind(io.router, [before.first(n), delta.first(n)], [after.first(n), hidden.first(n)]);
    bind(io.joinedMlp, [context.first(n), before.first(n)], [after.first(n), delta.first(n)]);
    bind(io.joinedRouter, [context.first(n), before.first(n)], [after.first(n), hidden.first(n)]);
  }

  #embedTokens(plan: StepPlan, rows: number): void {
    const { first, count } = this.#shard.vocabulary;
    const { before, ids } = this.#rows;
    const part = this.#partRows(rows, before);
    let row = 0;
    for (const chunk of plan.chunks) {
      for (const token of chunk.tokens) {
        const local = token - first;
        ids.data[row++] = BigInt(local >= 0 && local < count ? local : 0);
      }
    }
    this.#io.embed.input(0, ids.first(rows));
    this.#io.embed.output(0, part.tensor);
    this.#embed.run(this.#io.embed);
    if (this.#joined) return;
    row = 0;
    const width = this.spec.hiddenSize;
    for (const chunk of plan.chunks) {
      for (const token of chunk.tokens) {
        if (token < first || token >= first + count) part.data.fill(0, row * width, (row + 1) * width);
        row++;
      }
    }
    this.#collective.allReduce(part.data, rows * width, before.data);
  }

  #runLayer(layer: number, chunks: readonly ChunkRows[], rows: number): void {
    const sessions = this.#layers[layer]!;
    sessions.attentionIn.run(layer === 0 ? this.#io.attentionInFirst : this.#io.attentionIn);
    this.#attend(layer, chunks);
    if (sessions.attentionOut) this.#reduceFrom(sessions.attentionOut, this.#io.attentionOut, 0, rows);
    if (sessions.spec.mlp.kind === 'dense') this.#runDense(sessions, rows);
    else this.#runExperts(sessions, sessions.spec.mlp, rows);
  }

  #attend(layer: number, chunks: readonly ChunkRows[]): void {
    const { k, v, qRows, contextRows } = this.#rows;
    for (const chunk of chunks) {
      const start = chunk.firstRow * k.width;
      const end = start + chunk.rows * k.width;
      this.#cache.append(
        layer,
        chunk.slot,
        chunk.firstPosition,
        k.data.subarray(start, end),
        v.data.subarray(start, end),
      );
      this.#attention.run(layer, chunk, qRows, contextRows);
    }
  }

  #runDense(sessions: LayerSessions, rows: number): void {
    if (this.#joined) sessions.mlp.run(this.#io.joinedMlp);
    else this.#reduceFrom(sessions.mlp, this.#io.mlp, 1, rows);
  }

  #runExperts(sessions: LayerSessions, spec: ExpertsSpec, rows: number): void {
    assert(this.#experts && this.#choice, 'a layer with experts has a runner');
    const { hidden, delta, scores } = this.#rows;
    const io = this.#joined ? this.#io.joinedRouter : this.#io.router;
    const scoreRows = scores.get(spec.experts);
    assert(scoreRows, 'scores have a buffer for every number of experts');
    io.output(2, scoreRows.first(rows));
    sessions.mlp.run(io);
    const choice = this.#firstChoices(rows * spec.chosen);
    chooseExperts(scoreRows.data, rows, spec, choice);
    const part = this.#partRows(rows, delta);
    this.#experts.run(sessions.experts, hidden, rows, choice, part.data);
    if (!this.#joined) this.#collective.allReduce(part.data, rows * delta.width, delta.data);
  }

  /** Runs a piece whose output is a partial sum, and sums it over ranks into `delta`. */
  #reduceFrom(session: Session, io: Io, output: number, rows: number): void {
    const { delta } = this.#rows;
    const part = this.#partRows(rows, delta);
    io.output(output, part.tensor);
    session.run(io);
    this.#collective.allReduce(part.data, rows * delta.width, delta.data);
  }

  /** Where a partial sum goes: straight to its target with one rank, else into the collective's own memory. */
  #partRows(rows: number, target: Rows): { data: Float32Array; tensor: ReturnType<Rows['first']> } {
    if (this.#joined) return { data: target.data, tensor: target.first(rows) };
    const data = this.#collective.partBuffer(rows * target.width);
    return { data, tensor: this.#parts.first(data, rows) };
  }

  #firstChoices(count: number): ExpertChoice {
    assert(this.#choice, 'a layer with experts has choices');
    return { experts: this.#choice.experts.subarray(0, count), weights: this.#choice.weights.subarray(0, count) };
  }

  #choiceOf(layer: number, rows: number): ExpertChoice | undefined {
    const { mlp } = this.#layers[layer]!.spec;
    return mlp.kind === 'experts' ? this.#firstChoices(rows * mlp.chosen) : undefined;
  }

  #residual(row: number): Float32Array {
    const { after, delta } = this.#rows;
    const sum = delta.row(row);
    return after.row(row).map((value, i) => value + sum[i]!);
  }

  #logitRows(rows: number): Rows {
    const width = this.#shard.vocabulary.padded;
    const known = this.#rows.logits;
    if (known && known.data.length >= rows * width) return known;
    const grown = new Rows(this.#runtime, rows, width);
    this.#rows.logits = grown;
    return grown;
  }
}

function placeRows(plan: StepPlan): readonly ChunkRows[] {
  let firstRow = 0;
  return plan.chunks.map(({ slot, firstPosition, tokens }) => {
    const chunk = { slot, firstPosition, firstRow, rows: tokens.length };
    firstRow += tokens.length;
    return chunk;
  });
}

function widestExperts(spec: ModelSpec): { experts: number; chosen: number } | undefined {
  const sparse = spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp] : []));
  if (sparse.length === 0) return undefined;
  return {
    experts: Math.max(...sparse.map((mlp) => mlp.experts)),
    chosen: Math.max(...sparse.map((mlp) => mlp.chosen)),
  };
}

function bind(
  io: Io,
  inputs: readonly Parameters<Io['input']>[1][],
  outputs: readonly Parameters<Io['output']>[1][],
): void {
  for (const [i, tensor] of inputs.entries()) io.input(i, tensor);
  for (const [i, tensor] of outputs.entries()) io.output(i, tensor);
}

function createIo(runtime: Runtime) {
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

function createRows(runtime: Runtime, spec: ModelSpec, shard: ShardManifest, maxRows: number, _experts: number) {
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
    logits: undefined as Rows | undefined,
  };
}
