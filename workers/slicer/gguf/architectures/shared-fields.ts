/** Fields of config.json that all architectures have alike. */
import type { DescribedModel } from './described-model.ts';

export type ConfigFields = Readonly<Record<string, unknown>>;

/** Says of one architecture what its config.json would say. */
export type Architecture = (model: DescribedModel) => ConfigFields;

/** Sizes, embeddings, the norms' epsilon, angles of the rotation. */
export function sharedFields(model: DescribedModel): ConfigFields {
  model.refuseUnless('attention.causal', [true]);
  model.refuseUnless('pooling_type', [0]);
  model.ignore('tensor_data_layout', 'rope.scaling.finetuned');
  return {
    vocab_size: model.vocabularySize(),
    hidden_size: model.count('embedding_length'),
    num_hidden_layers: model.layers,
    num_attention_heads: model.count('attention.head_count'),
    max_position_embeddings: model.count('context_length'),
    rms_norm_eps: model.number('attention.layer_norm_rms_epsilon'),
    tie_word_embeddings: !model.hasTensor('output.weight'),
    rope_theta: model.number('rope.freq_base', 10_000),
  };
}

/** Heads of grouped attention. Keys and values are equally wide in all that Trireme computes. */
export function groupedFields(model: DescribedModel): ConfigFields {
  const heads = model.count('attention.head_count');
  const headDim = headDimOf(model);
  model.refuseUnless('attention.value_length', [headDim]);
  return { num_key_value_heads: model.count('attention.head_count_kv', heads), head_dim: headDim };
}

export function headDimOf(model: DescribedModel): number {
  return model.count('attention.key_length', model.count('embedding_length') / model.count('attention.head_count'));
}

/** For architectures that rotate whole heads. */
export function refusePartialRotation(model: DescribedModel): void {
  model.refuseUnless('rope.dimension_count', [headDimOf(model)]);
}

/** For architectures whose experts are weighted in one way, whatever the keys say. */
export function refuseOtherWeights(model: DescribedModel, { normalised }: { readonly normalised: boolean }): void {
  model.refuseUnless('expert_weights_norm', [normalised]);
  model.refuseUnless('expert_weights_scale', [0, 1]);
  model.refuseUnless('expert_group_count', [0, 1]);
  model.refuseUnless('expert_group_used_count', [0, 1]);
}

/** `expert_gating_func`. */
export const gating = { softmax: 1, sigmoid: 2, softmaxOfChosen: 3 } as const;

/** Experts in groups of which only the best count; one group is none, and so is a file that says nothing of them. */
export function groupFields(model: DescribedModel): { readonly n_group: number; readonly topk_group: number } {
  const count = model.count('expert_group_count', 0);
  const chosen = model.count('expert_group_used_count', 0);
  return count > 1 ? { n_group: count, topk_group: chosen } : { n_group: 1, topk_group: 1 };
}
