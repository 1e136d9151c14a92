/**
 * Names of a model's tensors, the same for every family: those of DeepSeek on the Hugging Face Hub, one matrix [out, in] an
 * expert. Under which names and in which shapes a checkpoint holds them is for places.ts to know.
 */

export interface MlpNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export const tensorNames = {
  embedding: 'model.embed_tokens.weight',
  finalNorm: 'model.norm.weight',
  head: 'lm_head.weight',
  layer: layerNames,
};

export type LayerNames = ReturnType<typeof layerNames>;

function layerNames(layer: number) {
  const prefix = `model.layers.${layer}`;
  return {
    attentionNorm: `${prefix}.input_layernorm.weight`,
    grouped: groupedNames(`${prefix}.self_attn`),
    latent: latentNames(`${prefix}.self_attn`),
    delta: deltaNames(`${prefix}.linear_attn`),
    mlpNorm: `${prefix}.post_attention_layernorm.weight`,
    mlp: mlpNames(`${prefix}.mlp`),
    router: `${prefix}.mlp.gate.weight`,
    correction: `${prefix}.mlp.gate.e_score_correction_bias`,
    expert: (expert: number) => mlpNames(`${prefix}.mlp.experts.${expert}`),
    sharedExpert: mlpNames(`${prefix}.mlp.shared_experts`),
    sharedExpertGate: `${prefix}.mlp.shared_expert_gate.weight`,
  };
}

function groupedNames(prefix: string) {
  return {
    /** Gated: of each head first the rows of its query, then those of its gate. */
    query: `${prefix}.q_proj.weight`,
    key: `${prefix}.k_proj.weight`,
    value: `${prefix}.v_proj.weight`,
    output: `${prefix}.o_proj.weight`,
    queryNorm: `${prefix}.q_norm.weight`,
    keyNorm: `${prefix}.k_norm.weight`,
    sinks: `${prefix}.sinks`,
  };
}

function latentNames(prefix: string) {
  return {
    /** Without a latent of their own queries come from `query`, else from queryDown, its norm, and queryUp. */
    query: `${prefix}.q_proj.weight`,
    queryDown: `${prefix}.q_a_proj.weight`,
    queryNorm: `${prefix}.q_a_layernorm.weight`,
    queryUp: `${prefix}.q_b_proj.weight`,
    /** Rows of the latent, then those of the rotated key. */
    keyValueDown: `${prefix}.kv_a_proj_with_mqa.weight`,
    keyValueNorm: `${prefix}.kv_a_layernorm.weight`,
    /** Of each head the rows of its key, then those of its value. */
    keyValueUp: `${prefix}.kv_b_proj.weight`,
    output: `${prefix}.o_proj.weight`,
    indexer: {
      query: `${prefix}.indexer.wq_b.weight`,
      key: `${prefix}.indexer.wk.weight`,
      keyNorm: `${prefix}.indexer.k_norm.weight`,
      weights: `${prefix}.indexer.weights_proj.weight`,
    },
  };
}

function deltaNames(prefix: string) {
  return {
    /** All queries, then all keys, then all values. */
    mixed: `${prefix}.in_proj_qkv.weight`,
    gate: `${prefix}.in_proj_z.weight`,
    /** One row a value head: how strongly a position is written, and how the state decays. */
    rate: `${prefix}.in_proj_b.weight`,
    decay: `${prefix}.in_proj_a.weight`,
    convolution: `${prefix}.conv1d.weight`,
    decayLog: `${prefix}.A_log`,
    decayBias: `${prefix}.dt_bias`,
    norm: `${prefix}.norm.weight`,
    output: `${prefix}.out_proj.weight`,
  };
}

function mlpNames(prefix: string): MlpNames {
  return {
    gate: `${prefix}.gate_proj.weight`,
    up: `${prefix}.up_proj.weight`,
    down: `${prefix}.down_proj.weight`,
  };
}

/** Linear layers of attention and dense MLPs, but for those whose products packages do not compute as such. */
const adaptable = [
  /[.]self_attn[.](q|k|v|o|q_a|q_b)_proj[.]weight$/,
  /[.]self_attn[.]kv_a_proj_with_mqa[.]weight$/,
  /[.]linear_attn[.](in_proj_qkv|in_proj_z|out_proj)[.]weight$/,
  /[.]mlp[.](shared_experts[.])?(gate|up|down)_proj[.]weight$/,
];

/** True for a matrix that low-rank adapters may change. */
export function isAdaptable(tensor: string): boolean {
  return adaptable.some((pattern) => pattern.test(tensor));
}

/** A linear layer's bias lies beside its weight. */
export function biasOf(weight: string): string {
  return weight.replace(/[.]weight$/, '.bias');
}
