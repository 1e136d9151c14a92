/** GLM-4.5, 4.6, 4.7 and Air. */
import type { DescribedModel } from './described-model.ts';
import { ropeScaling } from './rope-scaling.ts';
import { type ConfigFields, gating, groupedFields, groupFields, headDimOf, sharedFields } from './shared-fields.ts';

export function glm4Moe(model: DescribedModel): ConfigFields {
  model.refuseUnless('expert_gating_func', [0, gating.sigmoid]);
  const scale = model.number('expert_weights_scale', 1);
  return {
    ...sharedFields(model),
    ...groupedFields(model),
    ...ropeScaling(model),
    model_type: 'glm4_moe',
    attention_bias: model.hasTensor('blk.0.attn_q.bias'),
    use_qk_norm: model.hasTensor('blk.0.attn_q_norm.weight'),
    rotary_dim: model.count('rope.dimension_count', headDimOf(model)),
    n_routed_experts: model.count('expert_count'),
    num_experts_per_tok: model.count('expert_used_count'),
    n_shared_experts: model.count('expert_shared_count', 0),
    moe_intermediate_size: model.count('expert_feed_forward_length'),
    intermediate_size: model.count('feed_forward_length'),
    first_k_dense_replace: model.count('leading_dense_block_count', 0),
    norm_topk_prob: model.flag('expert_weights_norm', false),
    routed_scaling_factor: scale === 0 ? 1 : scale,
    ...groupFields(model),
  };
}
