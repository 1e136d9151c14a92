/** How a GGUF file says that angles are scaled, as config.json would. */
import type { DescribedModel } from './described-model.ts';
import type { ConfigFields } from './shared-fields.ts';

interface YarnTraits {
  /** The borders of the ramp are whole dimensions; no key says it. */
  readonly truncate?: boolean;
}

/** { rope_scaling }, or nothing without any. Errors: INVALID_CHECKPOINT for kinds that are not computed. */
export function ropeScaling(model: DescribedModel, traits: YarnTraits = {}): ConfigFields {
  const factor = factorOf(model);
  const kind = model.text('rope.scaling.type', 'linear');
  // Of a model whose angles are as they are, whatever the file says of what was before.
  model.refuseUnless('rope.scaling.attn_factor', [1]);
  switch (kind) {
    case 'none':
      return {};
    case 'linear':
      return factor === 1 ? {} : { rope_scaling: { rope_type: 'linear', factor } };
    case 'yarn':
      return { rope_scaling: { rope_type: 'yarn', factor, ...yarnFields(model), ...traits } };
    default:
      throw model.unsupported('rope.scaling.type', 'none, linear, yarn');
  }
}

/** Under its name or the older one; 0 stands for none. */
function factorOf(model: DescribedModel): number {
  const factor = model.number('rope.scaling.factor', model.number('rope.scale_linear', 1));
  return factor === 0 ? 1 : factor;
}

function yarnFields(model: DescribedModel): ConfigFields {
  model.refuseUnless('rope.scaling.yarn_ext_factor', [1]);
  const attentionFactor = model.optionalNumber('rope.scaling.yarn_attn_factor');
  return {
    original_max_position_embeddings: model.count(
      'rope.scaling.original_context_length',
      model.count('context_length'),
    ),
    beta_fast: model.number('rope.scaling.yarn_beta_fast', 32),
    beta_slow: model.number('rope.scaling.yarn_beta_slow', 1),
    ...(attentionFactor === undefined ? {} : { attention_factor: attentionFactor }),
    ...latentScale(model),
  };
}

/**
 * DeepSeek's mscale_all_dim, of which the file has a tenth. It does not have mscale; released models have the same for both, which
 * leaves cosines and sines as they are.
 */
function latentScale(model: DescribedModel): ConfigFields {
  const tenth = model.optionalNumber('rope.scaling.yarn_log_multiplier');
  if (tenth === undefined) return {};
  const scale = Number((tenth * 10).toPrecision(8));
  return { mscale: scale, mscale_all_dim: scale };
}
