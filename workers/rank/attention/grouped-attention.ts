/** Grouped-query attention over the layers of a model: some may see a window only, each may have sinks of its own. */
import { pieceNames, vectorNames } from '../../models/manifest.ts';
import { normsAcrossRanks } from '../../models/pieces.ts';
import { evenRange, kvHeadRange } from '../../models/shard.ts';
import type { GroupedSpec } from '../../models/spec.ts';
import type { Io, Session } from '../../runtime/runtime.ts';
import type { Bound } from '../piece-io.ts';
import { Rows } from '../step-tensors.ts';
import { type AttendedArenas, AttentionCore, type Sinks } from './attention-core.ts';
import {
  type AttentionKind,
  type AttentionLayer,
  adapted,
  type KindOptions,
  type OpenPiece,
  streamInputs,
} from './attention-kind.ts';
import type { ChunkRows } from './kv-cache.ts';
import { CausalMasks } from './masks.ts';
import { RowTensors } from './row-tensors.ts';

/** Queries and keys whose norm is taken over all ranks: as they leave the projection, and their sums of squares. */
interface WholeNorm {
  readonly q: Rows;
  readonly k: Rows;
  readonly squares: Rows;
  readonly io: Io;
}

export class GroupedAttention implements AttentionKind {
  readonly context: Rows;
  readonly gate: Rows | undefined;
  readonly #options: KindOptions;
  readonly #heads: { readonly query: number; readonly kv: number };
  readonly #core: AttentionCore;
  readonly #masks = new Map<number | null, CausalMasks>();
  readonly #q: Rows;
  readonly #k: Rows;
  readonly #v: Rows;
  readonly #qRows: RowTensors;
  readonly #contextRows: RowTensors;
  readonly #wholeNorm: WholeNorm | undefined;

  /** `spec` of any layer: they differ in their windows only. */
  constructor(options: KindOptions, spec: GroupedSpec) {
    this.#options = options;
    const { runtime, place, maxRows, cache } = options;
    const { headDim, sinks } = spec;
    const [heads, kvHeads] = [evenRange(spec.heads, place).count, kvHeadRange(spec.kvHeads, place).count];
    this.#heads = { query: heads, kv: kvHeads };
    const rows = (width: number): Rows => new Rows(runtime, maxRows, width);
    this.#q = rows(heads * headDim);
    this.#k = rows(kvHeads * headDim);
    this.#v = rows(kvHeads * headDim);
    this.context = rows(heads * headDim);
    this.gate = spec.gated ? rows(heads * headDim) : undefined;
    const headDims = [kvHeads, heads / kvHeads, headDim];
    this.#qRows = new RowTensors(runtime, this.#q.data, headDims);
    this.#contextRows = new RowTensors(runtime, this.context.data, headDims);
    this.#core = new AttentionCore(runtime, { heads, kvHeads, headDim, scale: headDim ** -0.5, sinks }, cache);
    if (normsAcrossRanks(spec, place.ranks))
      this.#wholeNorm = this.#createWholeNorm(heads * headDim, kvHeads * headDim);
  }

  beginStep(): void {
    for (const masks of this.#masks.values()) masks.beginStep();
  }

  openLayer(layer: number, piece: OpenPiece): AttentionLayer {
    const spec = this.#options.spec.layers[layer]!.attention as GroupedSpec;
    const arenas = this.#options.arenas.grouped(layer);
    const { name, inputs } = adapted(this.#options.adapters, pieceNames.attentionIn(layer));
    const [session, io] = [piece(name), this.#io(layer, inputs)];
    const norm = this.#wholeNorm ? piece(pieceNames.attentionNorm(layer)) : undefined;
    const masks = this.#masksFor(spec.window);
    const sinks = spec.sinks ? this.#sinks(this.#options.vector(vectorNames.sinks(layer))) : undefined;
    return {
      run: (chunks) => {
        session.run(io);
        if (norm) this.#normalise(norm, chunks);
        this.#attend(arenas, chunks, masks, sinks);
      },
    };
  }

  #attend(arenas: AttendedArenas, chunks: readonly ChunkRows[], masks: CausalMasks, sinks: Sinks | undefined): void {
    const { cache } = this.#options;
    const maskOf = (first: number, rows: number) => masks.of(first, rows);
    const tensors = { q: this.#qRows, context: this.#contextRows, maskOf, ...(sinks ? { sinks } : {}) };
    for (const chunk of chunks) {
      cache.append(arenas.keys, chunk, this.#k.data);
      cache.append(arenas.values, chunk, this.#v.data);
      this.#core.run(arenas, chunk, tensors);
    }
  }

  #normalise(norm: Session, chunks: readonly ChunkRows[]): void {
    const { squares, io } = this.#wholeNorm!;
    const rows = chunks.reduce((sum, chunk) => sum + chunk.rows, 0);
    this.#options.collective.allReduce(squares.data, rows * squares.width, squares.data);
    norm.run(io);
  }

  #io(layer: number, more: readonly Bound[]): Io {
    const { stream } = this.#options;
    const { inputs, outputs } = streamInputs(stream, layer);
    const values = [...outputs, ['v', this.#v], ...(this.gate ? [['gate', this.gate] as const] : [])] as const;
    const whole = this.#wholeNorm;
    if (whole) {
      return stream.io.create(
        [...inputs, ...more],
        [...outputs, ['q', whole.q], ['k', whole.k], ['squares', whole.squares], ...values.slice(outputs.length)],
      );
    }
    return stream.io.create(
      [...inputs, ...rotation(stream), ...more],
      [...outputs, ['q', this.#q], ['k', this.#k], ...values.slice(outputs.length)],
    );
  }

  #createWholeNorm(queryWidth: number, keyWidth: number): WholeNorm {
    const { runtime, maxRows, stream } = this.#options;
    const [q, k, squares] = [queryWidth, keyWidth, 2].map((width) => new Rows(runtime, maxRows, width));
    const inputs = [['q', q!], ['k', k!], ['squares', squares!], ...rotation(stream)] as const;
    const io = stream.io.create(inputs, [
      ['q_rotated', this.#q],
      ['k_rotated', this.#k],
    ]);
    return { q: q!, k: k!, squares: squares!, io };
  }

  #masksFor(window: number | null): CausalMasks {
    const known = this.#masks.get(window);
    if (known) return known;
    const masks = new CausalMasks(this.#options.runtime, this.#options.spec.contextLength, window);
    this.#masks.set(window, masks);
    return masks;
  }

  #sinks(logits: Float32Array): Sinks {
    const { query, kv } = this.#heads;
    const tensor = (dims: readonly number[]) => this.#options.runtime.tensor(logits, dims);
    return { one: tensor([kv, query / kv, 1]), several: tensor([kv, query / kv, 1, 1]) };
  }
}

/** Inputs by which a piece rotates. */
export function rotation({ cos, sin, positions }: KindOptions['stream']) {
  return [
    ['cos', cos],
    ['sin', sin],
    ['positions', positions],
  ] as const;
}
