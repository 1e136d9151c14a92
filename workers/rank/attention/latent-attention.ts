/** Multi-head latent attention over the layers of a model, dense or of positions that an indexer chooses. */
import { pieceNames } from '../../models/manifest.ts';
import { evenRange } from '../../models/shard.ts';
import type { IndexerSpec, LatentSpec } from '../../models/spec.ts';
import type { Io, Tensor } from '../../runtime/runtime.ts';
import type { Bound } from '../piece-io.ts';
import { Rows } from '../step-tensors.ts';
import { type AttendedArenas, AttentionCore, callsOf } from './attention-core.ts';
import {
  type AttentionKind,
  type AttentionLayer,
  adapted,
  type KindOptions,
  type OpenPiece,
  streamInputs,
} from './attention-kind.ts';
import { rotation } from './grouped-attention.ts';
import type { ChunkRows } from './kv-cache.ts';
import { CausalMasks } from './masks.ts';
import { PositionIndexer } from './position-indexer.ts';
import { RowTensors } from './row-tensors.ts';

/** The rows by which a layer's indexer scores positions. */
interface IndexRows {
  readonly q: Rows;
  readonly k: Rows;
  readonly weights: Rows;
}

export class LatentAttention implements AttentionKind {
  readonly context: Rows;
  readonly gate = undefined;
  readonly #options: KindOptions;
  readonly #core: AttentionCore;
  readonly #masks: CausalMasks;
  readonly #q: Rows;
  readonly #k: Rows;
  readonly #qRows: RowTensors;
  readonly #contextRows: RowTensors;
  readonly #index: IndexRows | undefined;
  readonly #indexer: PositionIndexer | undefined;

  /** `spec` of any layer: they differ in whether they have an indexer of their own. */
  constructor(options: KindOptions, spec: LatentSpec) {
    this.#options = options;
    const { runtime, place, maxRows, cache } = options;
    const { contextLength, rotary } = options.spec;
    const headDim = spec.latent + rotary.dims;
    const heads = evenRange(spec.heads, place).count;
    const rows = (width: number): Rows => new Rows(runtime, maxRows, width);
    this.#q = rows(heads * headDim);
    this.#k = rows(headDim);
    this.context = rows(heads * headDim);
    const headDims = [1, heads, headDim];
    this.#qRows = new RowTensors(runtime, this.#q.data, headDims);
    this.#contextRows = new RowTensors(runtime, this.context.data, headDims);
    const shape = { heads, kvHeads: 1, headDim, scale: spec.scoreScale, sinks: false };
    this.#core = new AttentionCore(runtime, shape, cache);
    this.#masks = new CausalMasks(runtime, contextLength, null);
    const indexer = ownIndexer(options);
    if (!indexer) return;
    const { heads: indexHeads, dim } = indexer;
    this.#index = { q: rows(indexHeads * dim), k: rows(dim), weights: rows(indexHeads) };
    const { q, weights } = this.#index;
    this.#indexer = new PositionIndexer(runtime, indexer, { cache, q: q.data, weights: weights.data });
  }

  beginStep(): void {
    this.#masks.beginStep();
    this.#indexer?.beginStep();
  }

  openLayer(layer: number, piece: OpenPiece): AttentionLayer {
    const { indexer } = this.#options.spec.layers[layer]!.attention as LatentSpec;
    const { latent, index } = this.#options.arenas.latent(layer);
    const arenas = { keys: latent, values: latent };
    const { name, inputs } = adapted(this.#options.adapters, pieceNames.attentionIn(layer));
    const session = piece(name);
    const io = this.#io(layer, indexer?.kind === 'own', inputs);
    return {
      run: (chunks) => {
        session.run(io);
        if (indexer?.kind === 'own') this.#chooseFor(chunks, index!);
        this.#attend(arenas, chunks, indexer !== null);
      },
    };
  }

  /** This layer's choice, which the layers that share it will find. */
  #chooseFor(chunks: readonly ChunkRows[], arena: number): void {
    this.#indexer!.forget();
    for (const chunk of chunks) {
      this.#options.cache.append(arena, chunk, this.#index!.k.data);
      for (const call of callsOf(chunk)) this.#indexer!.choose(arena, chunk.slot, call);
    }
  }

  #attend(arenas: AttendedArenas, chunks: readonly ChunkRows[], isSparse: boolean): void {
    const chosen = (row: number): Tensor | undefined => (isSparse ? this.#indexer!.maskAt(row) : undefined);
    const maskOf = (first: number, rows: number, row: number): Tensor => chosen(row) ?? this.#masks.of(first, rows);
    for (const chunk of chunks) {
      this.#options.cache.append(arenas.keys, chunk, this.#k.data);
      this.#core.run(arenas, chunk, { q: this.#qRows, context: this.#contextRows, maskOf });
    }
  }

  #io(layer: number, indexes: boolean, more: readonly Bound[]): Io {
    const { stream } = this.#options;
    const { inputs, outputs } = streamInputs(stream, layer);
    const index = this.#index;
    const indexed =
      indexes && index
        ? ([
            ['index_q', index.q],
            ['index_k', index.k],
            ['index_weights', index.weights],
          ] as const)
        : [];
    return stream.io.create(
      [...inputs, ...rotation(stream), ...more],
      [...outputs, ['q', this.#q], ['k', this.#k], ...indexed],
    );
  }
}

/** All indexers of a model are of one shape. */
function ownIndexer({ spec }: KindOptions): (IndexerSpec & { kind: 'own' }) | undefined {
  for (const { attention } of spec.layers) {
    if (attention.kind === 'latent' && attention.indexer?.kind === 'own') return attention.indexer;
  }
  return undefined;
}
