/** MiniMax-M2: queries and keys are normalised whole, half of each head is rotated, experts are chosen by corrected sigmoids. */
import type { ConfigReader } from '../config/config-reader.ts';
import { readExperts } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes, refuseWindows } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

/** Of the models before it, which mixed two kinds of attention, scaled residuals, and had shared experts and dense layers. */
function refuseOthers(config: ConfigReader): void {
  const kind = config.commonSize('attn_type_list', 1);
  if (kind !== 1) throw config.unsupported('attn_type_list', kind, '1, attention over the whole context');
  config.only('shared_intermediate_size', 0);
  config.only('postnorm', false);
  for (const part of ['full_attention', 'linear_attention', 'mlp']) {
    config.only(`layernorm_${part}_alpha`, 1);
    config.only(`layernorm_${part}_beta`, 1);
  }
  config.ignore(['shared_moe_mode', 'mlp_intermediate_size']);
}

export const minimaxM2: Family = (config) => {
  refuseOthers(config);
  refuseWindows(config);
  config.only('qk_norm_type', 'per_layer');
  const attention = readGrouped(config, { norm: config.flag('use_qk_norm', true) ? 'whole' : 'none' });
  config.only('scoring_func', 'sigmoid');
  const mlp = readExperts(config, {
    width: config.size('intermediate_size'),
    routing: { score: 'sigmoid', correction: config.flag('use_routing_bias', true) },
  });
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves', partial: true }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
