/**
 * DeepSeek V2 and V3 and those that are written as such: Kimi K2, GLM-4.7-Flash. What tells them apart is how experts are scored.
 * Latent attention is written as attention with one KV head as wide as the latent, in older files with all heads.
 */
import type { DescribedModel } from './described-model.ts';
import { ropeScaling } from './rope-scaling.ts';
import { type ConfigFields, gating, groupFields, sharedFields } from './shared-fields.ts';

export function deepseek2(model: DescribedModel): ConfigFields {
  model.ignore('attention.head_count_kv');
  return { ...sharedFields(model), ...latentFields(model), ...ropeScaling(model), ...expertFields(model) };
}

function latentFields(model: DescribedModel): ConfigFields {
  // Of one head; the keys without mla then tell the sizes of the cache.
  const keyDim = model.count('attention.key_length_mla', model.count('attention.key_length'));
  const valueDim = model.count('attention.value_length_mla', model.count('attention.value_length'));
  const rotated = model.count('rope.dimension_count');
  if (keyDim <= rotated) throw model.unsupported('rope.dimension_count', `less than the ${keyDim} of a key`);
  const queryRank = model.count('attention.q_lora_rank', 0);
  return {
    q_lora_rank: queryRank > 0 ? queryRank : null,
    kv_lora_rank: model.count('attention.kv_lora_rank'),
    qk_nope_head_dim: keyDim - rotated,
    qk_rope_head_dim: rotated,
    v_head_dim: valueDim,
  };
}

/** Files that do not name the scores are of V2, unless experts are chosen by corrected ones. */
function hasSigmoid(model: DescribedModel): boolean {
  model.refuseUnless('expert_gating_func', [0, gating.softmax, gating.sigmoid]);
  const said = model.count('expert_gating_func', 0);
  return said === 0 ? model.layersWith('exp_probs_b.bias').length > 0 : said === gating.sigmoid;
}

function expertFields(model: DescribedModel): ConfigFields {
  const groups = groupFields(model);
  const scale = model.number('expert_weights_scale', 1);
  const method = groups.n_group > 1 ? 'group_limited_greedy' : 'greedy';
  return {
    ...(hasSigmoid(model)
      ? { model_type: 'deepseek_v3', scoring_func: 'sigmoid', topk_method: 'noaux_tc' }
      : { model_type: 'deepseek_v2', scoring_func: 'softmax', topk_method: method }),
    ...groups,
    n_routed_experts: model.count('expert_count'),
    num_experts_per_tok: model.count('expert_used_count'),
    n_shared_experts: model.count('expert_shared_count', 0),
    moe_intermediate_size: model.count('expert_feed_forward_length'),
    intermediate_size: model.count('feed_forward_length'),
    first_k_dense_replace: model.count('leading_dense_block_count', 0),
    norm_topk_prob: model.flag('expert_weights_norm', false),
    routed_scaling_factor: scale === 0 ? 1 : scale,
  };
}
