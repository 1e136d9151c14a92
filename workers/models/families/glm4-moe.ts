/** GLM-4.5, 4.6, 4.7 and Air: grouped attention, half of each head rotated; experts chosen as in DeepSeek-V3. */
import { readDense, readExperts, readGroups, sparseAfterFirst } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary, rotatedDims } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import { sharedWidth } from './deepseek.ts';

export const glm4Moe: Family = (config) => {
  const attention = readGrouped(config, {
    inputBias: config.flag('attention_bias', false),
    norm: config.flag('use_qk_norm', false) ? 'before-rotation' : 'none',
  });
  const isSparse = sparseAfterFirst(config);
  const routing = {
    score: 'sigmoid',
    correction: true,
    groups: readGroups(config, 'best-two'),
    normalise: config.flag('norm_topk_prob', true),
    scale: config.positive('routed_scaling_factor', 1),
  } as const;
  const experts = readExperts(config, { shared: sharedWidth(config), routing });
  return {
    ...readSizes(config, 1e-5),
    rotary: readRotary(config, { dims: rotatedDims(config, attention.headDim), pairs: 'halves' }),
    layers: eachLayer(config, (layer) => ({
      attention,
      mlp: isSparse(layer) ? experts : readDense(config),
    })),
  };
};
