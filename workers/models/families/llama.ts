/** Dense Llama and what shares its architecture and model_type, SmolLM2 for one. */
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes, refuseWindows } from '../config/sizes.ts';
import type { Family } from '../family.ts';
import { eachLayer } from '../family.ts';

export const llama: Family = (config) => {
  refuseWindows(config);
  const attention = readGrouped(config, allBiases(config));
  const width = config.size('intermediate_size');
  const mlp = { kind: 'dense', width, bias: config.flag('mlp_bias', false) } as const;
  return {
    ...readSizes(config),
    rotary: readRotary(config, { dims: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
