/** Dense Llama and what shares its architecture and model_type, SmolLM2 for one. */
import type { Family } from '../family.ts';
import type { LayerSpec } from '../spec.ts';
import { readGrouped, readRotary, readSizes, refuseUnsupported } from '../transformer-config.ts';

export const llama: Family = (config) => {
  refuseUnsupported(config);
  const attention = readGrouped(config, { norm: 'none' });
  const width = config.size('intermediate_size');
  const layer: LayerSpec = { attention, mlp: { kind: 'dense', width, bias: config.flag('mlp_bias', false) } };
  return {
    ...readSizes(config),
    rotary: readRotary(config, attention.headDim),
    layers: new Array<LayerSpec>(config.size('num_hidden_layers')).fill(layer),
  };
};
