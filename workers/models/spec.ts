/**
 * A model in Trireme's terms: what remains of a Hugging Face config.json, in either spelling, once it has been read.
 * Says nothing about ranks (shard.ts does) and holds no bytes.
 */

export interface ModelSpec {
  /** Name in the family table, which is the model_type: 'llama', 'qwen3_moe'. */
  readonly family: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Tokens of prompt and completion together. */
  readonly contextLength: number;
  readonly normEpsilon: number;
  /** RMS norms multiply by 1 + weight; but for the norm of a delta net's output, which multiplies by its weight. */
  readonly normsAddOne: boolean;
  /** The output projection is the embedding table. */
  readonly tiedEmbeddings: boolean;
  /** The same in every layer that rotates. */
  readonly rotary: RotarySpec;
  /** One per layer. */
  readonly layers: readonly LayerSpec[];
}

export interface LayerSpec {
  readonly attention: AttentionSpec;
  readonly mlp: DenseSpec | ExpertsSpec;
}

export type AttentionSpec = GroupedSpec | LatentSpec | DeltaSpec;

/** Grouped-query attention; query head h reads KV head floor(h * kvHeads / heads). Scores are scaled by headDim^-0.5. */
export interface GroupedSpec {
  readonly kind: 'grouped';
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** RMS norm of queries and keys: of each head before or after rotation, or of all heads together before it. */
  readonly norm: 'none' | 'before-rotation' | 'after-rotation' | 'whole';
  /** Of queries, keys and values. */
  readonly inputBias: boolean;
  readonly outputBias: boolean;
  /** A position sees itself and window-1 before it; null: all before it. */
  readonly window: number | null;
  /** A learned logit per head takes part in the softmax and stands for no position. */
  readonly sinks: boolean;
  /** The context is multiplied by the sigmoid of a gate, which the query projection yields beside each head. */
  readonly gated: boolean;
}

/**
 * Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): keys and values of all heads come from one latent, which is
 * what the cache holds, beside one rotated key for all heads.
 */
export interface LatentSpec {
  readonly kind: 'latent';
  readonly heads: number;
  /** Width of the queries' own latent; null: queries come straight from the stream. */
  readonly queryRank: number | null;
  readonly latent: number;
  /** Of a head: dimensions of query and key without rotation; those with it are rotary.dims. */
  readonly plainDim: number;
  readonly valueDim: number;
  /** Of the norms of the two latents. */
  readonly latentNormEpsilon: number;
  readonly scoreScale: number;
  /** Sparse attention: null sees every position. */
  readonly indexer: IndexerSpec | null;
}

/**
 * DeepSeek sparse attention (DeepSeek-V3.2): a position attends to the `chosen` best of those before it. A layer scores them
 * itself, or takes the choice of the last layer that did.
 */
export type IndexerSpec =
  | {
      readonly kind: 'own';
      readonly heads: number;
      readonly dim: number;
      readonly chosen: number;
      /** Pairs of the rotation, which may differ from those of attention. Rotated dimensions come first. */
      readonly pairs: RotarySpec['pairs'];
    }
  | { readonly kind: 'shared' };

/**
 * Gated delta net (arXiv 2412.06464): a state per value head instead of a cache; value head h reads key head
 * floor(h * keyHeads / valueHeads).
 */
export interface DeltaSpec {
  readonly kind: 'delta';
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Inputs that the causal convolution sees, the present one among them. */
  readonly kernel: number;
}

export interface RotarySpec {
  readonly theta: number;
  /** Rotated dimensions of a head. Of grouped attention the first ones. */
  readonly dims: number;
  /** Which dimensions turn together: (i, i + dims/2), or (2i, 2i + 1). */
  readonly pairs: 'halves' | 'neighbours';
  readonly scaling: RotaryScaling;
}

export type RotaryScaling =
  | { readonly kind: 'none' }
  | { readonly kind: 'linear'; readonly factor: number }
  /** What each frequency is divided by, as GGUF files have it instead of Llama 3.1's parameters. */
  | { readonly kind: 'factors'; readonly factors: readonly number[] }
  /** Llama 3.1's wavelength-dependent scaling. */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContext: number;
    }
  /** YaRN (arXiv 2309.00071), at every length. */
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      readonly originalContext: number;
      /** Round the borders of the ramp outwards to whole dimensions. */
      readonly truncate: boolean;
      /** Multiplies cosines and sines. */
      readonly attentionFactor: number;
    };

/** down(silu(gate x) * up x) */
export interface DenseSpec {
  readonly kind: 'dense';
  readonly width: number;
  readonly bias: boolean;
}

export interface ExpertsSpec {
  readonly kind: 'experts';
  readonly experts: number;
  readonly chosen: number;
  /** Inner width of one expert. */
  readonly width: number;
  /** Of each expert's three matrices. */
  readonly bias: boolean;
  readonly activation: ActivationSpec;
  /** A dense MLP that every row goes through, beside its experts. */
  readonly shared: SharedExpertSpec | null;
  readonly routing: RoutingSpec;
}

export type ActivationSpec =
  /** silu(gate) * up */
  | { readonly kind: 'silu' }
  /** gate' * sigmoid(alpha gate') * (up' + 1), gate' = min(gate, limit), up' = up within +-limit (gpt-oss). */
  | { readonly kind: 'clamped'; readonly alpha: number; readonly limit: number };

export interface SharedExpertSpec {
  readonly width: number;
  /** Its output is multiplied by the sigmoid of one more product. */
  readonly gated: boolean;
}

export interface RoutingSpec {
  /** How logits become scores; softmax over all experts. */
  readonly score: 'softmax' | 'sigmoid';
  /** The router is a linear layer with a bias. */
  readonly bias: boolean;
  /** A learned number is added to each score for choosing; the weights are without it. */
  readonly correction: boolean;
  /** Experts are chosen from the best groups only. */
  readonly groups: GroupsSpec | null;
  /** Divide the chosen weights by their sum. */
  readonly normalise: boolean;
  /** Then multiply them. */
  readonly scale: number;
}

export interface GroupsSpec {
  readonly count: number;
  readonly chosen: number;
  /** What a group is judged by: its best expert, or the sum of its best two. */
  readonly by: 'best' | 'best-two';
}
