/**
 * The contract between slicer and rank: what a package folder holds. The slicer writes it, the loader believes
 * nothing of it before the digests match.
 *
 *   manifest.json
 *   tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja   copied as they are
 *   rank-<r>/graphs.bin     ONNX models, one after the other, at the offsets of `pieces`
 *   rank-<r>/weights.bin    external data of those models (location "weights.bin"), aligned for mmap
 */
import type { ModelSpec } from './spec.ts';

export const manifestFormat = 1;

export type WeightFormat = 'native' | 'fp32' | 'int8' | 'int4';

export interface Manifest {
  readonly format: typeof manifestFormat;
  readonly name: string;
  readonly tool: { readonly name: 'trireme'; readonly version: string };
  readonly spec: ModelSpec;
  readonly weights: WeightFormat;
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
  readonly heads: number;
  readonly kvHeads: number;
  /** Rows of embedding and output projection held here: vocabulary ids first .. first+count-1, then padding. */
  readonly vocabulary: { readonly first: number; readonly count: number; readonly padded: number };
  readonly weightBytes: number;
  readonly pieces: Readonly<Record<string, PieceLocation>>;
}

/** Where in graphs.bin a piece's ONNX model lies. */
export interface PieceLocation {
  readonly offset: number;
  readonly bytes: number;
}

/**
 * Names of the pieces of a rank and what they compute. All tensors are float32 unless said; n = rows of the step.
 * `delta` is the all-reduced partial of the piece before: the residual stream is x + delta, so no piece runs only to add.
 *
 *   embed                   ids i64 [n] (local rows, 0 .. padded-1)                    -> x [n, hidden]
 *   layer.L.attention-in    x, delta (not for L = 0), cos, sin [n, dims/2], positions i64 [1, n] = 0 .. n-1 (rows of cos)
 *                           -> residual [n, hidden] (not for L = 0), q [n, heads*headDim], k, v [n, kvHeads*headDim]
 *   layer.L.attention-out   context [n, heads*headDim]                                 -> partial [n, hidden]
 *   layer.L.mlp             x, delta -> residual, partial [n, hidden]                  dense layers
 *   layer.L.router          x, delta -> residual, hidden [n, hidden], scores [n, experts]   layers with experts; scores are logits
 *   layer.L.expert.E        hidden [m, hidden]                                         -> out [m, hidden]   partial over ranks
 *   head                    x, delta [n, hidden]                                       -> logits [n, padded]
 *
 * Where the group has one rank, nothing lies between attention-out and what follows, so the two are one piece:
 *   layer.L.attention-out-mlp      context, x -> residual, partial
 *   layer.L.attention-out-router   context, x -> residual, hidden, scores
 * (x is the residual stream before attention's output is added).
 */
export const pieceNames = {
  embed: 'embed',
  head: 'head',
  attentionIn: (layer: number) => `layer.${layer}.attention-in`,
  attentionOut: (layer: number) => `layer.${layer}.attention-out`,
  mlp: (layer: number) => `layer.${layer}.mlp`,
  router: (layer: number) => `layer.${layer}.router`,
  attentionOutMlp: (layer: number) => `layer.${layer}.attention-out-mlp`,
  attentionOutRouter: (layer: number) => `layer.${layer}.attention-out-router`,
  expert: (layer: number, expert: number) => `layer.${layer}.expert.${expert}`,
} as const;
