/** MiniMax-M2: queries and keys are normalised whole, half of each head is rotated, experts are chosen by corrected sigmoids. */
import { readExperts } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary, rotatedDims } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

export const minimaxM2: Family = (config) => {
  config.word('qk_norm_type', ['per_layer'], 'per_layer');
  const attention = readGrouped(config, { norm: config.flag('use_qk_norm', true) ? 'whole' : 'none' });
  config.word('scoring_func', ['sigmoid'], 'sigmoid');
  const mlp = readExperts(config, {
    width: config.size('intermediate_size'),
    routing: { score: 'sigmoid', correction: config.flag('use_routing_bias', true) },
  });
  return {
    ...readSizes(config),
    rotary: readRotary(config, { dims: rotatedDims(config, attention.headDim), pairs: 'halves' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
