/** Names of a model's tensors in a checkpoint. Matrices are [out, in]. */

export interface MlpNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export interface LayerNames {
  readonly attentionNorm: string;
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly output: string;
  readonly queryNorm: string;
  readonly keyNorm: string;
  readonly mlpNorm: string;
  readonly mlp: MlpNames;
  readonly router: string;
  readonly expert: (expert: number) => MlpNames;
}

export interface TensorNames {
  readonly embedding: string;
  readonly finalNorm: string;
  readonly head: string;
  readonly layer: (layer: number) => LayerNames;
  /** True for a tensor that some files hold and the model does not read. */
  readonly isExtra: (name: string, layers: number) => boolean;
}

/** A linear layer's bias lies beside its weight. */
export function biasOf(weight: string): string {
  return weight.replace(/[.]weight$/, '.bias');
}

function mlpNames(prefix: string): MlpNames {
  return {
    gate: `${prefix}.gate_proj.weight`,
    up: `${prefix}.up_proj.weight`,
    down: `${prefix}.down_proj.weight`,
  };
}

/** Layers beyond the last belong to multi-token prediction; frequencies are computed, not read. */
function isExtra(name: string, layers: number): boolean {
  const layer = /^model[.]layers[.](\d+)[.]/.exec(name)?.[1];
  return name.startsWith('mtp.') || name.endsWith('.rotary_emb.inv_freq') || Number(layer ?? -1) >= layers;
}

/** The names on the Hugging Face Hub that Llama began and most families kept. */
export const hubNames: TensorNames = {
  embedding: 'model.embed_tokens.weight',
  finalNorm: 'model.norm.weight',
  head: 'lm_head.weight',
  layer: (layer) => {
    const prefix = `model.layers.${layer}`;
    return {
      attentionNorm: `${prefix}.input_layernorm.weight`,
      query: `${prefix}.self_attn.q_proj.weight`,
      key: `${prefix}.self_attn.k_proj.weight`,
      value: `${prefix}.self_attn.v_proj.weight`,
      output: `${prefix}.self_attn.o_proj.weight`,
      queryNorm: `${prefix}.self_attn.q_norm.weight`,
      keyNorm: `${prefix}.self_attn.k_norm.weight`,
      mlpNorm: `${prefix}.post_attention_layernorm.weight`,
      mlp: mlpNames(`${prefix}.mlp`),
      router: `${prefix}.mlp.gate.weight`,
      expert: (expert) => mlpNames(`${prefix}.mlp.experts.${expert}`),
    };
  },
  isExtra,
};
