/** gpt-oss: sinks, windows in every other layer, biases everywhere, experts with a clamped activation. */
import { readExperts } from '../config/experts.ts';
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readLayerTypes, readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

/** Of the sigmoid in its activation. */
const alpha = 1.702;

export const gptOss: Family = (config) => {
  const attention = readGrouped(config, { ...allBiases(config), sinks: true });
  const window = config.size('sliding_window');
  const types = readLayerTypes(config);
  const odd = types.find((type) => type !== 'sliding_attention' && type !== 'full_attention');
  if (odd !== undefined) throw config.unsupported('layer_types', odd, 'sliding_attention, full_attention');
  const slides = (layer: number): boolean =>
    types.length === 0 ? layer % 2 === 0 : types[layer] === 'sliding_attention';
  const mlp = readExperts(config, {
    width: config.size('intermediate_size'),
    bias: true,
    activation: { kind: 'clamped', alpha, limit: config.positive('swiglu_limit', 7) },
    routing: { bias: true },
  });
  config.ignore(['initial_context_length', 'swiglu_alpha']);
  return {
    ...readSizes(config, 1e-5),
    rotary: readRotary(config, { dims: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, (layer) => ({
      attention: { ...attention, window: slides(layer) ? window : null },
      mlp,
    })),
  };
};
