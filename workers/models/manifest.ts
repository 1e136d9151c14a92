/**
 * The contract between slicer and rank: what a package folder holds. The slicer writes it, the loader believes
 * nothing of it before the digests match.
 *
 *   manifest.json
 *   tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja   copied as they are
 *   rank-<r>/graphs.bin     ONNX models, one after the other, at the offsets of `pieces`
 *   rank-<r>/weights.bin    external data of those models (location "weights.bin"), aligned for mmap
 */
import type { ExpertSplit, Range } from './shard.ts';
import type { ModelSpec } from './spec.ts';

export const manifestFormat = 3;

export type WeightFormat = 'native' | 'fp32' | 'int8' | 'int4';

/**
 * How rows enter products with large matrices. Matrices in blocks are multiplied with rows rounded to int8, block by block, which is
 * fast; in float32 on demand, to tell what the blocks alone change.
 */
export type Activations = 'int8' | 'fp32';

export interface Manifest {
  readonly format: typeof manifestFormat;
  readonly name: string;
  readonly tool: { readonly name: 'trireme'; readonly version: string };
  readonly spec: ModelSpec;
  readonly weights: WeightFormat;
  /** fp32 when no matrix is in blocks. */
  readonly activations: Activations;
  readonly experts: ExpertSplit;
  readonly provenance: Provenance;
  /** Everything in the package but the manifest itself, by relative path. */
  readonly files: readonly FileDigest[];
  readonly shards: readonly ShardManifest[];
  /** Token ids that end a turn; from generation_config.json, else config.json. */
  readonly endTokens: readonly number[];
}

export interface FileDigest {
  readonly path: string;
  readonly bytes: number;
  /** SHA-256, lower-case hex. */
  readonly sha256: string;
}

export interface Provenance {
  /** Folder name or ORG/NAME, never an absolute path. */
  readonly source: string;
  readonly revision: string | null;
  readonly licence: string | null;
  /** Human-readable, e.g. 'int4 symmetric, block 32, round to nearest; router, norms and embeddings float'. */
  readonly quantisation: string;
  readonly inputs: readonly FileDigest[];
}

export interface ShardManifest {
  readonly rank: number;
  readonly weightBytes: number;
  readonly pieces: Readonly<Record<string, PieceLocation>>;
  /** What the rank itself reads from weights.bin, by vectorNames. */
  readonly vectors: Readonly<Record<string, VectorLocation>>;
  /** By the piece with adapters: the matrices whose products it adapts, in the order of its inputs. */
  readonly adapted: Readonly<Record<string, readonly AdaptedMatrix[]>>;
}

/** The part of a model's matrix that a rank multiplies by. */
export interface AdaptedMatrix {
  readonly tensor: string;
  readonly rows: readonly Range[];
  readonly columns: Range;
}

/** Where in graphs.bin a piece's ONNX model lies. */
export interface PieceLocation {
  readonly offset: number;
  readonly bytes: number;
}

/** `count` float32 values in weights.bin. */
export interface VectorLocation {
  readonly offset: number;
  readonly count: number;
}

/**
 * Names of the pieces of a rank and what they compute. All tensors are float32 unless said; n = rows of the step, heads and
 * widths are the rank's. `delta` is the all-reduced partial of the piece before: the residual stream is x + delta, so no
 * piece runs only to add.
 *
 *   embed                   ids i64 [n] (local rows, 0 .. padded-1)                    -> x [n, hidden]
 *   layer.L.attention-in    x, delta (not for L = 0), and what the layer's attention needs, below
 *                           -> residual [n, hidden] (not for L = 0), and what it yields
 *   layer.L.attention-out   context [n, width], gate (where attention-in yields one)   -> partial [n, hidden]
 *   layer.L.mlp             x, delta -> residual, partial [n, hidden]                  dense layers
 *   layer.L.router          x, delta -> residual, hidden [n, hidden], scores [n, experts], shared [n, hidden] (where there is a
 *                           shared expert; partial over ranks)                         layers with experts; scores are logits
 *   layer.L.expert.E        hidden [m, hidden]                                         -> out [m, hidden]   partial over ranks
 *   final-norm              x, delta [n, hidden]                                       -> hidden [n, hidden]
 *   head                    x, delta [n, hidden]                                       -> logits [n, padded]
 *
 * Attention-in by kind of attention; cos, sin [n, dims/2], positions i64 [1, n] = 0 .. n-1 (rows of cos):
 *
 *   grouped   cos, sin, positions -> q [n, heads*headDim], k, v [n, kvHeads*headDim], gate [n, heads*headDim] where gated
 *   grouped, queries and keys normalised whole, on several ranks, in two pieces:
 *             -> q, k, v, squares [n, 2] (sums over this rank's part of q and of k)
 *     layer.L.attention-norm  q, k, squares (all-reduced), cos, sin, positions -> q_rotated, k_rotated, as q and k
 *   latent    cos, sin, positions -> q [n, heads*(latent+dims)] (times W_k of kv_b, then rotated), k [n, latent+dims]
 *             with an indexer of its own also index_q [n, indexHeads*dim], index_k [n, dim], index_weights [n, indexHeads]
 *   delta     -> mixed [n, (2*keyDim*keyHeads + valueDim*valueHeads)], rate, decay [n, valueHeads], gate [n, valueDim*valueHeads]
 *     layer.L.delta           mixed, rate and decay (activated by the rank), convolution [1, channels, kernel-1], state [1, valueHeads, keyDim, valueDim]
 *                             -> context, next_convolution, next_state; for the rows of one sequence
 *
 * Where the group has one rank, nothing lies between attention-out and what follows, so the two are one piece:
 *   layer.L.attention-out-mlp      context, gate, x -> residual, partial
 *   layer.L.attention-out-router   context, gate, x -> residual, hidden, scores, shared
 * (x is the residual stream before attention's output is added).
 *
 * Of each piece with matrices that adapters may change there is another, NAME+adapters, over the same weights and with these
 * inputs besides: adapter_factors [n, r], and per matrix i adapter_down_i [r, in], adapter_up_i [r, out]. The product of a row is
 * then x W^T + (0.5 x down^T * factors) * 0.5 up: factors are 4 in the columns of the row's adapter, 0 elsewhere.
 */
export const pieceNames = {
  embed: 'embed',
  finalNorm: 'final-norm',
  head: 'head',
  attentionIn: (layer: number) => `layer.${layer}.attention-in`,
  attentionNorm: (layer: number) => `layer.${layer}.attention-norm`,
  delta: (layer: number) => `layer.${layer}.delta`,
  attentionOut: (layer: number) => `layer.${layer}.attention-out`,
  mlp: (layer: number) => `layer.${layer}.mlp`,
  router: (layer: number) => `layer.${layer}.router`,
  attentionOutMlp: (layer: number) => `layer.${layer}.attention-out-mlp`,
  attentionOutRouter: (layer: number) => `layer.${layer}.attention-out-router`,
  expert: (layer: number, expert: number) => `layer.${layer}.expert.${expert}`,
} as const;

/** The piece that also adds adapters. */
export function withAdapters(piece: string): string {
  return `${piece}+adapters`;
}

export const vectorNames = {
  /** Logits of the attention sinks [heads]. */
  sinks: (layer: number) => `layer.${layer}.sinks`,
  /** What is added to the scores of experts for choosing [experts]. */
  correction: (layer: number) => `layer.${layer}.correction`,
  /** Of a delta net, both [valueHeads]: logarithm of how fast a state decays, and what is added to a row's decay. */
  decayLog: (layer: number) => `layer.${layer}.decay-log`,
  decayBias: (layer: number) => `layer.${layer}.decay-bias`,
} as const;
