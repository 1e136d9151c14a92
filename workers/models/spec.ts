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
  /** The output projection is the embedding table. */
  readonly tiedEmbeddings: boolean;
  readonly attention: AttentionSpec;
  /** One per layer. */
  readonly layers: readonly LayerSpec[];
}

/** Grouped-query attention; query head h reads KV head floor(h * kvHeads / heads). */
export interface AttentionSpec {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** RMS norm of each query and key head before rotation. */
  readonly headNorm: boolean;
  readonly inputBias: boolean;
  readonly outputBias: boolean;
  readonly rotary: RotarySpec;
}

export interface RotarySpec {
  readonly theta: number;
  /** Rotated dimensions of a head, the first ones; pairs are (i, i + dims/2). */
  readonly dims: number;
  readonly scaling: RotaryScaling;
}

export type RotaryScaling =
  | { readonly kind: 'none' }
  | { readonly kind: 'linear'; readonly factor: number }
  /** Llama 3.1's wavelength-dependent scaling. */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContext: number;
    };

export type LayerSpec = { readonly mlp: DenseSpec | ExpertsSpec };

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
  readonly routing: RoutingSpec;
}

export interface RoutingSpec {
  readonly score: 'softmax';
  /** Divide the chosen weights by their sum. */
  readonly normalise: boolean;
}
