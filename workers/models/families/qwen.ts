/** Dense Qwen: 2 has biases on queries, keys and values, which no field of its config says; 3 normalises heads instead. */

import type { ConfigReader } from '../config/config-reader.ts';
import { readDense } from '../config/experts.ts';
import { type AbsentSizes, allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes, refuseWindows } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import type { GroupedSpec } from '../spec.ts';

function dense(traits: (config: ConfigReader) => Partial<GroupedSpec>, absent: AbsentSizes = {}): Family {
  return (config) => {
    refuseWindows(config);
    const attention = readGrouped(config, traits(config), absent);
    const mlp = readDense(config);
    return {
      ...readSizes(config),
      rotary: readRotary(config, { width: attention.headDim, pairs: 'halves' }),
      layers: eachLayer(config, () => ({ attention, mlp })),
    };
  };
}

export const qwen2 = dense(() => ({ inputBias: true }), { headDim: 'hidden / heads' });
export const qwen3 = dense((config) => ({ ...allBiases(config), norm: 'before-rotation' }));
