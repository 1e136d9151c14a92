/**
 * One rank's slice of the model: runs a step's rows through every layer, meeting the other ranks twice a layer. Decides
 * nothing about what runs (the plan does) and computes nothing itself: graphs come from the package, sums from the
 * collective.
 */
import type { AdapterMemory } from '../adapters/adapter-memory.ts';
import type { Collective } from '../collectives/collective.ts';
import type { StepPlan } from '../engine/step.ts';
import { type Manifest, pieceNames, type ShardManifest, vectorNames } from '../models/manifest.ts';
import { RotaryTable } from '../models/rotary.ts';
import { type ExpertChoice, ExpertChooser } from '../models/routing.ts';
import { type RankShard, shardOf } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { Io, Runtime, Session, Tensor } from '../runtime/runtime.ts';
import { Arenas } from './attention/arenas.ts';
import { type AttentionLayer, adapted, type OpenPiece } from './attention/attention-kind.ts';
import { type AttentionKinds, createAttentionKinds } from './attention/attention-kinds.ts';
import { type ChunkRows, KvCache } from './attention/kv-cache.ts';
import { ExpertRunner, openExperts } from './experts.ts';
import { PieceIo } from './piece-io.ts';
import { RankAdapters } from './rank-adapters.ts';
import {
  attentionOutPartial,
  createMlpIo,
  createRankBuffers,
  type MlpIo,
  mlpPartial,
  type RankBuffers,
  routerShared,
} from './rank-buffers.ts';
import { BorrowedRows, Rows } from './step-tensors.ts';

export interface RankModelOptions {
  readonly runtime: Runtime;
  readonly manifest: Manifest;
  readonly shard: ShardManifest;
  readonly piece: OpenPiece;
  /** A vector of the package, by vectorNames. */
  readonly vector: (name: string) => Float32Array;
  readonly collective: Collective;
  /** Adapters that requests may choose from; undefined: there are none. */
  readonly adapterMemory?: AdapterMemory | undefined;
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

interface Layer {
  readonly attention: AttentionLayer;
  readonly io: MlpIo;
  /** Absent when joined with what follows. */
  readonly attentionOut: Session | undefined;
  /** Dense: the whole MLP. Experts: norm and router scores. Joined with attention-out in a group of one rank. */
  readonly mlp: Session;
  readonly experts: LayerExperts | undefined;
}

interface LayerExperts {
  /** By expert; those of other ranks are undefined. */
  readonly sessions: readonly (Session | undefined)[];
  readonly chooser: ExpertChooser;
  readonly chosen: number;
  readonly scores: Rows;
  readonly hasShared: boolean;
}

export class RankModel {
  readonly spec: ModelSpec;
  readonly vocabulary: RankShard['vocabulary'];
  /** Called after every layer of every forward pass. */
  tap: ((view: LayerView) => void) | undefined;
  readonly #options: RankModelOptions;
  readonly #shard: RankShard;
  readonly #joined: boolean;
  readonly #layers: readonly Layer[];
  readonly #embed: Session;
  readonly #embedIo: Io;
  readonly #head: Session;
  readonly #finalNorm: Session;
  readonly #finalNormIo: Io;
  readonly #headIo: Io;
  readonly #cache: KvCache;
  readonly #kinds: AttentionKinds;
  readonly #experts: ExpertRunner | undefined;
  readonly #adapters: RankAdapters | undefined;
  readonly #rotary: RotaryTable;
  readonly #parts: BorrowedRows;
  readonly #buffers: RankBuffers;
  readonly #io: PieceIo;
  readonly #choice: ExpertChoice;
  #logits: Rows | undefined;
  #boundRows = 0;

  constructor(options: RankModelOptions) {
    const { runtime, manifest, shard, collective, maxRows, blocks, slots } = options;
    const { spec } = manifest;
    this.spec = spec;
    this.#options = options;
    const place = { rank: shard.rank, ranks: collective.ranks };
    this.#shard = shardOf(spec, place, manifest.experts);
    this.vocabulary = this.#shard.vocabulary;
    this.#joined = collective.ranks === 1;
    this.#buffers = createRankBuffers(runtime, spec, maxRows);
    this.#io = new PieceIo(runtime);
    const arenas = new Arenas(spec, place);
    this.#cache = new KvCache(runtime, { arenas: arenas.shapes, blocks, slots });
    const { adapterMemory } = options;
    this.#adapters = adapterMemory && new RankAdapters(runtime, shard, adapterMemory, maxRows);
    const stream = { ...this.#buffers, io: this.#io };
    this.#kinds = createAttentionKinds({
      ...{ runtime, spec, place, collective, stream, arenas, slots, maxRows },
      cache: this.#cache,
      vector: options.vector,
      adapters: this.#adapters,
    });
    this.#embed = options.piece(pieceNames.embed);
    this.#layers = spec.layers.map((_, layer) => this.#openLayer(layer));
    this.#finalNorm = options.piece(pieceNames.finalNorm);
    this.#finalNormIo = runtime.io(['x', 'delta'], ['hidden']);
    this.#head = options.piece(pieceNames.head);
    this.#embedIo = runtime.io(['ids'], ['x']);
    this.#headIo = runtime.io(['x', 'delta'], ['logits']);
    this.#rotary = new RotaryTable(spec.rotary);
    this.#parts = new BorrowedRows(runtime, spec.hiddenSize);
    const { experts, chosen } = widestExperts(spec);
    this.#choice = { experts: new Int32Array(maxRows * chosen), weights: new Float32Array(maxRows * chosen) };
    if (experts > 0) this.#experts = new ExpertRunner(runtime, { maxRows, hidden: spec.hiddenSize, experts, chosen });
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
    for (const kind of this.#kinds.values()) kind.beginStep(chunks);
    this.#fillRotary(chunks);
    const isOther = this.#adapters?.beginStep(chunks) ?? false;
    if (isOther || rows !== this.#boundRows) this.#io.bindRows(rows);
    this.#boundRows = rows;
    this.#embedTokens(plan, rows);
    for (const [layer, opened] of this.#layers.entries()) {
      this.#runLayer(opened, chunks, rows);
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
    const io = this.#headIo;
    io.input(0, (areFirst ? after : headIn).first(count));
    io.input(1, (areFirst ? delta : headDelta).first(count));
    io.output(0, logits.first(count));
    this.#head.run(io);
    return logits.data;
  }

  /** What the head multiplies, of rows first .. first+count-1 of the last forward: [count, hidden]; valid until the next call. */
  hidden(first: number, count: number): Float32Array {
    const { after, delta, headIn } = this.#buffers;
    const io = this.#finalNormIo;
    io.input(0, after.some(first, count));
    io.input(1, delta.some(first, count));
    io.output(0, headIn.first(count));
    this.#finalNorm.run(io);
    return headIn.data.subarray(0, count * headIn.width);
  }

  #openLayer(layer: number): Layer {
    const { piece } = this.#options;
    const { attention, mlp } = this.spec.layers[layer]!;
    const kind = this.#kinds.get(attention.kind)!;
    const dense = mlp.kind === 'dense';
    const joinedName = dense ? pieceNames.attentionOutMlp(layer) : pieceNames.attentionOutRouter(layer);
    const aloneName = dense ? pieceNames.mlp(layer) : pieceNames.router(layer);
    const experts = dense ? undefined : { count: mlp.experts, shared: mlp.shared !== null };
    const out = adapted(this.#adapters, pieceNames.attentionOut(layer));
    const after = adapted(this.#adapters, this.#joined ? joinedName : aloneName);
    const inputs = { attentionOut: out.inputs, mlp: after.inputs };
    return {
      attention: kind.openLayer(layer, piece),
      io: createMlpIo(this.#io, this.#buffers, kind, { joined: this.#joined, experts, adapted: inputs }),
      attentionOut: this.#joined ? undefined : piece(out.name),
      mlp: piece(after.name),
      experts: this.#openExperts(layer),
    };
  }

  #openExperts(layer: number): LayerExperts | undefined {
    const { mlp } = this.spec.layers[layer]!;
    if (mlp.kind === 'dense') return undefined;
    const correction = mlp.routing.correction ? this.#options.vector(vectorNames.correction(layer)) : undefined;
    return {
      sessions: openExperts(mlp, this.#shard, (expert) => this.#options.piece(pieceNames.expert(layer, expert))),
      chooser: new ExpertChooser(mlp, correction),
      chosen: mlp.chosen,
      scores: this.#buffers.scores.get(mlp.experts)!,
      hasShared: mlp.shared !== null,
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
    this.#embedIo.input(0, ids.first(rows));
    this.#embedIo.output(0, part.tensor);
    this.#embed.run(this.#embedIo);
    if (this.#joined) return;
    row = 0;
    const width = this.spec.hiddenSize;
    for (const { tokens } of plan.chunks) {
      for (const token of tokens) {
        if (token < first || token >= first + count) part.data.fill(0, row * width, (row + 1) * width);
        row++;
      }
    }
    this.#options.collective.allReduce(part.data, rows * width, before.data);
  }

  #runLayer(layer: Layer, chunks: readonly ChunkRows[], rows: number): void {
    layer.attention.run(chunks);
    if (layer.attentionOut) this.#reduceFrom(layer.attentionOut, layer.io.attentionOut!, attentionOutPartial, rows);
    if (layer.experts) this.#runExperts(layer, layer.experts, rows);
    else this.#reduceFrom(layer.mlp, layer.io.mlp, mlpPartial, rows);
  }

  #runExperts(layer: Layer, experts: LayerExperts, rows: number): void {
    const { hidden, delta } = this.#buffers;
    const { sessions, chooser, chosen, scores, hasShared } = experts;
    const part = this.#partRows(rows, delta);
    if (hasShared) layer.io.mlp.output(routerShared, part.tensor);
    layer.mlp.run(layer.io.mlp);
    chooser.choose(scores.data, rows, this.#choice);
    if (!hasShared) part.data.fill(0, 0, rows * delta.width);
    this.#experts!.addTo(part.data, sessions, hidden, rows, this.#choice, chosen);
    this.#reduce(part.data, rows);
  }

  /** Runs a piece whose output is a partial sum, and sums it over ranks into `delta`. */
  #reduceFrom(session: Session, io: Io, output: number, rows: number): void {
    const part = this.#partRows(rows, this.#buffers.delta);
    io.output(output, part.tensor);
    session.run(io);
    this.#reduce(part.data, rows);
  }

  #reduce(part: Float32Array, rows: number): void {
    const { delta } = this.#buffers;
    if (!this.#joined) this.#options.collective.allReduce(part, rows * delta.width, delta.data);
  }

  /** Where a partial sum goes: straight to its target with one rank, else into the collective's own memory. */
  #partRows(rows: number, target: Rows): { readonly data: Float32Array; readonly tensor: Tensor } {
    if (this.#joined) return { data: target.data, tensor: target.first(rows) };
    const data = this.#options.collective.partBuffer(rows * target.width);
    return { data, tensor: this.#parts.first(data, rows) };
  }

  #view(layer: number, rows: number): LayerView {
    const { after, delta } = this.#buffers;
    const chosen = this.#layers[layer]!.experts?.chosen;
    const residual = (row: number): Float32Array => {
      const sum = delta.row(row);
      return after.row(row).map((value, i) => value + sum[i]!);
    };
    if (chosen === undefined) return { layer, rows, residual, choice: undefined };
    const experts = this.#choice.experts.subarray(0, rows * chosen);
    const weights = this.#choice.weights.subarray(0, rows * chosen);
    return { layer, rows, residual, choice: { experts, weights } };
  }

  /** Grows by doubling: one row in decode, as many as a step has when every row is wanted. */
  #logitRows(rows: number): Rows {
    const width = this.vocabulary.padded;
    const held = this.#logits ? this.#logits.data.length / width : 0;
    if (this.#logits && held >= rows) return this.#logits;
    this.#logits?.release();
    this.#logits = new Rows(this.#options.runtime, Math.max(rows, 2 * Math.floor(held)), width);
    return this.#logits;
  }
}

function placeRows(plan: StepPlan): readonly ChunkRows[] {
  let firstRow = 0;
  return plan.chunks.map(({ slot, firstPosition, tokens, adapter }) => {
    const chunk = { slot, firstPosition, firstRow, rows: tokens.length, adapter };
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
