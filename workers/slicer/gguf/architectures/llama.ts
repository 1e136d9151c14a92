/** Llama and what converters write as such: Mistral and SmolLM2, and with experts Mixtral. */
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

export function llama(model: DescribedModel): ConfigFields {
  refusePartialRotation(model);
  return {
    ...sharedFields(model),
    ...groupedFields(model),
    ...ropeScaling(model),
    intermediate_size: model.count('feed_forward_length'),
    ...(model.count('expert_count', 0) > 0 ? mixtralFields(model) : denseFields(model)),
  };
}

function denseFields(model: DescribedModel): ConfigFields {
  model.refuseUnless('expert_used_count', [0]);
  return {
    model_type: 'llama',
    attention_bias: model.hasTensor('blk.0.attn_q.bias'),
    mlp_bias: model.hasTensor('blk.0.ffn_gate.bias'),
  };
}

function mixtralFields(model: DescribedModel): ConfigFields {
  refuseOtherWeights(model, { normalised: true });
  model.refuseUnless('expert_gating_func', [gating.softmax]);
  model.refuseUnless('expert_feed_forward_length', [0, model.count('feed_forward_length')]);
  return {
    model_type: 'mixtral',
    num_local_experts: model.count('expert_count'),
    num_experts_per_tok: model.count('expert_used_count'),
  };
}
