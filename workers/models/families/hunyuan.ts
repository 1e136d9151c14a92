/** Hunyuan with experts: heads are normalised after rotation, sizes may be lists with one number a layer. */
import { readExperts } from '../config/experts.ts';
import { allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';

export const hunyuanMoe: Family = (config) => {
  const attention = readGrouped(config, {
    ...allBiases(config),
    norm: config.flag('use_qk_norm', true) ? 'after-rotation' : 'none',
  });
  const width = config.commonSize(config.has('moe_intermediate_size') ? 'moe_intermediate_size' : 'intermediate_size');
  config.ignore(['intermediate_size']);
  const shared = config.flag('use_mixed_mlp_moe', true)
    ? { width: config.commonSize('num_shared_expert') * width, gated: false }
    : null;
  const mlp = readExperts(config, { width, chosen: config.commonSize('moe_topk'), shared });
  return {
    ...readSizes(config, 1e-5),
    rotary: readRotary(config, { dims: attention.headDim, pairs: 'halves' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};
