/** Mixtral: Llama's attention, eight experts of which two are chosen. */
import { readExperts } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

export const mixtral: Family = (config) => {
  const window = config.has('sliding_window') ? config.size('sliding_window') : null;
  const attention = readGrouped(config, { window }, { headDim: 'hidden / heads' });
  const mlp = readExperts(config, { width: config.size('intermediate_size') });
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
