/**
 * One rank's slice of the model: runs a step's rows through every layer, meeting the other ranks twice a layer. Decides
 * nothing about what runs (the plan does) and computes nothing itself: graphs come from the package, sums from the
 * collective.
 */
import { assert } from '#platform/assert.ts';
import type { Collective } from '../collectives/collective.ts';
import type { StepPlan } from '../engine/step.ts';
import { type Manifest, pieceNames, type ShardManifest } from '../models/manifest.ts';
import { RotaryTable } from '../models/rotary.ts';
import { chooseExperts } from '../models/routing.ts';
import type { ExpertsSpec, LayerSpec, ModelSpec } from '../models/spec.ts';
import type { Io, Runtime, Session, Tensor } from '../runtime/runtime.ts';
import { Attention } from './attention.ts';
import { type ExpertChoice, ExpertRunner } from './experts.ts';
import { type ChunkRows, KvCache } from './kv-cache.ts';
import { bindRows, createRankBuffers, createRankIo, type RankBuffers, type RankIo } from './rank-buffers.ts';
import { BorrowedRows, Rows } from './step-tensors.ts';

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

/** The inside of a forward pass after a layer, for verification. */
export interface LayerView {
  readonly layer: number;
  readonly rows: number;
  /** Residual stream of a row [hidden], copied. */
  residual(row: number): Float32Array;
  /** Of all rows; undefined in a layer without experts. Valid during the call. */
  readonly choice: ExpertChoice | undefined;
}

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
  readonly vocabulary: ShardManifest['vocabulary'];
  /** Called after every layer of every forward pass. */
  tap: ((view: LayerView) => void) | undefined;
  readonly #runtime: Runtime;
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
  readonly #buffers: RankBuffers;
  readonly #io: RankIo;
  readonly #choice: ExpertChoice;
  #logits: Rows | undefined;
  #boundRows = 0;

  constructor(options: RankModelOptions) {
    const { runtime, manifest, shard, collective, maxRows, blocks, slots } = options;
    this.spec = manifest.spec;
    this.vocabulary = shard.vocabulary;
    this.#runtime = runtime;
    this.#collective = collective;
    this.#joined = collective.ranks === 1;
    this.#embed = options.piece(pieceNames.embed);
    this.#layers = this.spec.layers.map((spec, layer) => this.#openLayer(spec, layer, options.piece));
    this.#head = options.piece(pieceNames.head);
    const { attention, contextLength, hiddenSize } = this.spec;
    const { headDim } = attention;
    const { heads, kvHeads } = shard;
    this.#cache = new KvCache(runtime, { layers: this.#layers.length, kvHeads, headDim, blocks, slots });
    const shape = { heads, kvHeads, headDim, scale: headDim ** -0.5, contextLength };
    this.#attention = new Attention(runtime, shape, this.#cache);
    this.#rotary = new RotaryTable(attention.rotary);
    this.#parts = new BorrowedRows(runtime, hiddenSize);
    this.#buffers = createRankBuffers(runtime, this.spec, shard, maxRows);
    this.#io = createRankIo(runtime);
    const { experts, chosen } = widestExperts(this.spec);
    this.#choice = { experts: new Int32Array(maxRows * chosen), weights: new Float32Array(maxRows * chosen) };
    if (experts > 0) this.#experts = new ExpertRunner(runtime, { maxRows, hidden: hiddenSize, experts, chosen });
  }

  /** Applies a plan's releases and copies and makes room for its rows. */
  prepare(plan: StepPlan): void {
    for (const slot of plan.release) this.#cache.release(slot);
    for (const { from, to, positions } of plan.copies) this.#cache.copy(from, to, positions);
    for (const chunk of plan.chunks) this.#cache.reserve(chunk.slot, chunk.firstPosition + chunk.tokens.length);
  }

  /** Runs all rows through all layers. Afterwards logits() may be asked for any of them. */
  forward(plan: StepPlan): void {
    const chunks = placeRows(plan);
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    this.#attention.beginStep();
    this.#fillRotary(chunks);
    if (rows !== this.#boundRows) bindRows(this.#io, this.#buffers, rows);
    this.#boundRows = rows;
    this.#embedTokens(plan, rows);
    for (let layer = 0; layer < this.#layers.length; layer++) {
      this.#runLayer(layer, chunks, rows);
      this.tap?.(this.#view(layer, rows));
    }
  }

  /** Logits of the given rows of the last forward, [rows, padded shard of the vocabulary]; valid until the next call. */
  logits(wanted: readonly number[]): Float32Array {
    const { after, delta, headIn, headDelta } = this.#buffers;
    const count = wanted.length;
    const areFirst = wanted.every((row, i) => row === i);
    for (const [i, row] of areFirst ? [] : wanted.entries()) {
      headIn.data.set(after.row(row), i * headIn.width);
      headDelta.data.set(delta.row(row), i * headDelta.width);
    }
    const logits = this.#logitRows(count);
    const io = this.#io.head;
    io.input(0, (areFirst ? after : headIn).first(count));
    io.input(1, (areFirst ? delta : headDelta).first(count));
    io.output(0, logits.first(count));
    this.#head.run(io);
    return logits.data;
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

  #fillRotary(chunks: readonly ChunkRows[]): void {
    const { cos, sin } = this.#buffers;
    for (const chunk of chunks) {
      for (let i = 0; i < chunk.rows; i++) {
        this.#rotary.fill(chunk.firstPosition + i, cos.data, sin.data, (chunk.firstRow + i) * cos.width);
      }
    }
  }

  /** Every rank looks up the tokens whose rows it holds; the sum over ranks is the embedding. */
  #embedTokens(plan: StepPlan, rows: number): void {
    const { first, count } = this.vocabulary;
    const { before, ids } = this.#buffers;
    const part = this.#partRows(rows, before);
    let row = 0;
    for (const { tokens } of plan.chunks) {
      for (const token of tokens) {
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
    for (const { tokens } of plan.chunks) {
      for (const token of tokens) {
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
    const { k, v, qRows, contextRows } = this.#buffers;
    for (const chunk of chunks) {
      this.#cache.append(layer, chunk, k.data, v.data);
      this.#attention.run(layer, chunk, qRows, contextRows);
    }
  }

  #runDense(sessions: LayerSessions, rows: number): void {
    if (this.#joined) sessions.mlp.run(this.#io.joinedMlp);
    else this.#reduceFrom(sessions.mlp, this.#io.mlp, 1, rows);
  }

  #runExperts(sessions: LayerSessions, spec: ExpertsSpec, rows: number): void {
    const { hidden, delta, scores } = this.#buffers;
    const scoreRows = scores.get(spec.experts);
    assert(this.#experts && scoreRows, 'a layer with experts has a runner and scores');
    const io = this.#joined ? this.#io.joinedRouter : this.#io.router;
    io.output(2, scoreRows.first(rows));
    sessions.mlp.run(io);
    chooseExperts(scoreRows.data, rows, spec, this.#choice);
    const part = this.#partRows(rows, delta);
    this.#experts.run(sessions.experts, hidden, rows, this.#choice, spec.chosen, part.data);
    if (!this.#joined) this.#collective.allReduce(part.data, rows * delta.width, delta.data);
  }

  /** Runs a piece whose output is a partial sum, and sums it over ranks into `delta`. */
  #reduceFrom(session: Session, io: Io, output: number, rows: number): void {
    const { delta } = this.#buffers;
    const part = this.#partRows(rows, delta);
    io.output(output, part.tensor);
    session.run(io);
    this.#collective.allReduce(part.data, rows * delta.width, delta.data);
  }

  /** Where a partial sum goes: straight to its target with one rank, else into the collective's own memory. */
  #partRows(rows: number, target: Rows): { readonly data: Float32Array; readonly tensor: Tensor } {
    if (this.#joined) return { data: target.data, tensor: target.first(rows) };
    const data = this.#collective.partBuffer(rows * target.width);
    return { data, tensor: this.#parts.first(data, rows) };
  }

  #view(layer: number, rows: number): LayerView {
    const { after, delta } = this.#buffers;
    const { mlp } = this.#layers[layer]!.spec;
    const residual = (row: number): Float32Array => {
      const sum = delta.row(row);
      return after.row(row).map((value, i) => value + sum[i]!);
    };
    if (mlp.kind === 'dense') return { layer, rows, residual, choice: undefined };
    const experts = this.#choice.experts.subarray(0, rows * mlp.chosen);
    const weights = this.#choice.weights.subarray(0, rows * mlp.chosen);
    return { layer, rows, residual, choice: { experts, weights } };
  }

  /** Grows by doubling: one row in decode, as many as a step has when every row is wanted. */
  #logitRows(rows: number): Rows {
    const width = this.vocabulary.padded;
    const held = this.#logits ? this.#logits.data.length / width : 0;
    if (this.#logits && held >= rows) return this.#logits;
    this.#logits?.release();
    this.#logits = new Rows(this.#runtime, Math.max(rows, 2 * Math.floor(held)), width);
    return this.#logits;
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

/** Largest numbers of experts and of chosen ones in any layer; 0 without layers that have experts. */
function widestExperts(spec: ModelSpec): { readonly experts: number; readonly chosen: number } {
  const sparse = spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp] : []));
  return {
    experts: Math.max(0, ...sparse.map((mlp) => mlp.experts)),
    chosen: Math.max(0, ...sparse.map((mlp) => mlp.chosen)),
  };
}
