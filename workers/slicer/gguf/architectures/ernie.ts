/** ERNIE 4.5, dense and with experts. */
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
  return {
    ...sharedFields(model),
    ...groupedFields(model),
    ...ropeScaling(model),
    intermediate_size: model.count('feed_forward_length'),
  };
}

export function ernie(model: DescribedModel): ConfigFields {
  return { ...common(model), model_type: 'ernie4_5' };
}

export function ernieMoe(model: DescribedModel): ConfigFields {
  refuseOtherWeights(model, { normalised: true });
  model.refuseUnless('expert_gating_func', [0, gating.softmax]);
  // The width of all shared experts, which converters get wrong: the tensors have it.
  model.ignore('expert_shared_feed_forward_length');
  const sparse = model.layersWith('ffn_gate_inp.weight');
  return {
    ...common(model),
    model_type: 'ernie4_5_moe',
    moe_num_experts: model.count('expert_count'),
    moe_k: model.count('expert_used_count'),
    moe_intermediate_size: model.count('expert_feed_forward_length'),
    moe_num_shared_experts: model.count('expert_shared_count', 0),
    moe_layer_start_index: model.count('leading_dense_block_count', 0),
    moe_layer_interval: model.count('interleave_moe_layer_step', 1),
    moe_layer_end_index: sparse.at(-1) ?? model.layers - 1,
    moe_use_aux_free: model.layersWith('exp_probs_b.bias').length > 0,
  };
}
