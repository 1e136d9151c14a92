/** GLM-4.5, 4.6, 4.7 and Air: grouped attention, half of each head rotated; experts chosen as in DeepSeek-V3. */
import { readDense, readExperts, sparseAfterFirst } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import { sharedWidth, thirdRouting } from './deepseek.ts';

export const glm4Moe: Family = (config) => {
  const attention = readGrouped(config, {
    inputBias: config.flag('attention_bias', false),
    norm: config.flag('use_qk_norm', false) ? 'before-rotation' : 'none',
  });
  const isSparse = sparseAfterFirst(config);
  const experts = readExperts(config, { shared: sharedWidth(config), routing: thirdRouting(config) });
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves', partial: true }),
    layers: eachLayer(config, (layer) => ({
      attention,
      mlp: isSparse(layer) ? experts : readDense(config),
    })),
  };
};
