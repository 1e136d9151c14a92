/** What a rank model sees of attention, whatever its kind: from the stream that enters a layer to the context that leaves it. */
import type { Collective } from '../../collectives/collective.ts';
import type { Place } from '../../models/shard.ts';
import type { ModelSpec } from '../../models/spec.ts';
import type { Runtime, Session } from '../../runtime/runtime.ts';
import type { Bound, PieceIo } from '../piece-io.ts';
import type { RankAdapters } from '../rank-adapters.ts';
import type { Indices, Rows } from '../step-tensors.ts';
import type { Arenas } from './arenas.ts';
import type { ChunkRows, KvCache } from './kv-cache.ts';

/** Opens the session of a piece. */
export type OpenPiece = (name: string) => Session;

/** All layers of one kind. */
export interface AttentionKind {
  /** What attention-out reads: written by the layers' run. */
  readonly context: Rows;
  readonly gate: Rows | undefined;
  openLayer(layer: number, piece: OpenPiece): AttentionLayer;
  /** Before the first layer of a step. */
  beginStep(chunks: readonly ChunkRows[]): void;
}

export interface AttentionLayer {
  /** Runs attention-in over the rows of the step, then each chunk against what its sequence left behind. */
  run(chunks: readonly ChunkRows[]): void;
}

/** What the kinds read of the stream, and where they put it. */
export interface AttentionStream {
  /** Creates inputs and outputs that follow the number of rows in a step. */
  readonly io: PieceIo;
  /** The stream as the first layer finds it and every layer leaves it; and as the others find it, with what is to be added. */
  readonly before: Rows;
  readonly after: Rows;
  readonly delta: Rows;
  readonly cos: Rows;
  readonly sin: Rows;
  readonly positions: Indices;
}

export interface KindOptions {
  readonly runtime: Runtime;
  readonly spec: ModelSpec;
  readonly place: Place;
  readonly collective: Collective;
  readonly stream: AttentionStream;
  readonly cache: KvCache;
  readonly arenas: Arenas;
  readonly slots: number;
  /** Of the largest step. */
  readonly maxRows: number;
  /** A vector of the package, by vectorNames. */
  readonly vector: (name: string) => Float32Array;
  readonly adapters: RankAdapters | undefined;
}

/** A piece as it is, or with adapters where the rank has them. */
export function adapted(adapters: RankAdapters | undefined, piece: string): AdaptedPiece {
  return adapters?.of(piece) ?? { name: piece, inputs: [] };
}

export interface AdaptedPiece {
  readonly name: string;
  /** Besides those of the piece as it is. */
  readonly inputs: readonly Bound[];
}

/** Inputs of attention-in before those of its kind; and its first output. */
export function streamInputs(stream: AttentionStream, layer: number) {
  const { before, after, delta } = stream;
  if (layer === 0) return { inputs: [['x', before] as const], outputs: [] };
  return { inputs: [['x', after] as const, ['delta', delta] as const], outputs: [['residual', before] as const] };
}
