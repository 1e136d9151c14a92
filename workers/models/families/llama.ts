/** Dense Llama and what shares its architecture and model_type, SmolLM2 for one. */
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes, refuseWindows } from '../config/sizes.ts';
import type { Family } from '../family.ts';
import { eachLayer } from '../family.ts';

/** Of Llama 1 and 2, whose files do not say it. */
const firstTheta = 10_000;

export const llama: Family = (config) => {
  refuseWindows(config);
  config.only('rope_interleaved', false);
  const attention = readGrouped(config, allBiases(config), { headDim: 'hidden / heads', kvHeads: 'heads' });
  const width = config.size('intermediate_size');
  const mlp = { kind: 'dense', width, bias: config.flag('mlp_bias', false) } as const;
  return {
    ...readSizes(config),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'halves', theta: firstTheta }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
