/** Dense Llama and what shares its architecture and model_type, SmolLM2 for one. */
import type { Family } from './family.ts';
import type { LayerSpec } from './spec.ts';
import { hubNames } from './tensor-names.ts';
import { readAttention, readSizes, refuseUnsupported } from './transformer-config.ts';

export const llama: Family = {
  readSpec: (config) => {
    refuseUnsupported(config);
    const width = config.size('intermediate_size');
    const layer: LayerSpec = { mlp: { kind: 'dense', width, bias: config.flag('mlp_bias', false) } };
    return {
      ...readSizes(config),
      attention: readAttention(config, { headNorm: false }),
      layers: new Array<LayerSpec>(config.size('num_hidden_layers')).fill(layer),
    };
  },
  tensors: hubNames,
};
