/** Qwen 2 and 3, dense and with experts. */
import type { DescribedModel } from './described-model.ts';
import { ropeScaling } from './rope-scaling.ts';
import {
  type ConfigFields,
  gating,
  groupedFields,
  refuseOtherWeights,
  refusePartialRotation,
  sharedFields,
} from './shared-fields.ts';

function common(model: DescribedModel): ConfigFields {
  refusePartialRotation(model);
  return { ...sharedFields(model), ...groupedFields(model), ...ropeScaling(model) };
}

/** Only a model with dense layers needs it; some files say it of all. */
function denseWidth(model: DescribedModel): ConfigFields {
  const width = model.optionalCount('feed_forward_length');
  return width === undefined ? {} : { intermediate_size: width };
}

export function qwen2(model: DescribedModel): ConfigFields {
  return { ...common(model), ...denseWidth(model), model_type: 'qwen2' };
}

export function qwen3(model: DescribedModel): ConfigFields {
  const bias = model.hasTensor('blk.0.attn_q.bias');
  return { ...common(model), ...denseWidth(model), model_type: 'qwen3', attention_bias: bias };
}

/** Which layers are dense shows in their tensors. */
function expertFields(model: DescribedModel): ConfigFields {
  model.refuseUnless('expert_gating_func', [gating.softmax]);
  const chosen = model.count('expert_used_count');
  return {
    ...denseWidth(model),
    num_experts: model.count('expert_count'),
    num_experts_per_tok: chosen,
    moe_intermediate_size: model.count('expert_feed_forward_length', model.count('feed_forward_length', 0) / chosen),
    mlp_only_layers: model.layersWith('ffn_gate.weight'),
  };
}

export function qwen2Moe(model: DescribedModel): ConfigFields {
  refuseOtherWeights(model, { normalised: false });
  const shared = model.count('expert_shared_feed_forward_length', model.count('feed_forward_length', 0));
  return {
    ...common(model),
    ...expertFields(model),
    model_type: 'qwen2_moe',
    qkv_bias: model.hasTensor('blk.0.attn_q.bias'),
    shared_expert_intermediate_size: shared,
    norm_topk_prob: false,
  };
}

export function qwen3Moe(model: DescribedModel): ConfigFields {
  refuseOtherWeights(model, { normalised: true });
  return {
    ...common(model),
    ...expertFields(model),
    model_type: 'qwen3_moe',
    attention_bias: model.hasTensor('blk.0.attn_q.bias'),
    norm_topk_prob: true,
  };
}
