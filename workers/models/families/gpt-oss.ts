/** gpt-oss: sinks, windows in every other layer, biases everywhere, experts with a clamped activation. */
import { readExperts } from '../config/experts.ts';
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { agreedLayers, readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

/** Of the sigmoid in its activation. */
const alpha = 1.702;

export const gptOss: Family = (config) => {
  const attention = readGrouped(config, { ...allBiases(config, true), sinks: true });
  const window = config.size('sliding_window');
  const kinds = ['sliding_attention', 'full_attention'] as const;
  const list = { name: 'layer_types', known: kinds, type: kinds[0] };
  const slides = agreedLayers(config, list, { fields: [], isOf: undefined });
  const mlp = readExperts(config, {
    width: config.size('intermediate_size'),
    bias: true,
    activation: { kind: 'clamped', alpha, limit: config.positive('swiglu_limit', 7) },
    routing: { bias: true },
  });
  config.only('swiglu_alpha', alpha);
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, (layer) => ({
      attention: { ...attention, window: slides(layer) ? window : null },
      mlp,
    })),
  };
};
