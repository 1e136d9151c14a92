/** gpt-oss. */
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

export function gptOss(model: DescribedModel): ConfigFields {
  refusePartialRotation(model);
  refuseOtherWeights(model, { normalised: false });
  model.refuseUnless('expert_gating_func', [gating.softmaxOfChosen]);
  model.ignore('feed_forward_length', 'rope.freq_base_swa');
  return {
    ...sharedFields(model),
    ...groupedFields(model),
    // The released models round nothing; the file cannot say it.
    ...ropeScaling(model, { truncate: false }),
    model_type: 'gpt_oss',
    attention_bias: true,
    num_local_experts: model.count('expert_count'),
    num_experts_per_tok: model.count('expert_used_count'),
    intermediate_size: model.count('expert_feed_forward_length'),
    sliding_window: model.count('attention.sliding_window'),
    layer_types: layerTypes(model),
  };
}

/** A list with true where a window slides; without it every other layer from the first on. */
function layerTypes(model: DescribedModel): readonly string[] {
  const key = 'attention.sliding_window_pattern';
  const isFlag = (value: unknown): value is boolean | number =>
    typeof value === 'boolean' || value === 0 || value === 1;
  if (!model.isList(key)) model.refuseUnless(key, [2]);
  const pattern = model.isList(key) ? model.list(key, 'flags', isFlag) : undefined;
  const slides = (layer: number): boolean => (pattern ? Boolean(pattern[layer]) : layer % 2 === 0);
  return Array.from({ length: model.layers }, (_, layer) => (slides(layer) ? 'sliding_attention' : 'full_attention'));
}
