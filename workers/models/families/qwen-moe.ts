/** Qwen with experts chosen by softmax: 2 has a gated shared expert as well. */
import type { ConfigReader } from '../config/config-reader.ts';
import { type ExpertTraits, readDense, readExperts, sparseByStep } from '../config/experts.ts';
import { type AbsentSizes, allBiases, readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { readSizes, refuseWindows } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import type { GroupedSpec } from '../spec.ts';

interface Traits {
  readonly attention: Partial<GroupedSpec>;
  readonly absent?: AbsentSizes;
  readonly experts: ExpertTraits;
}

function sparse(traitsOf: (config: ConfigReader) => Traits): Family {
  return (config) => {
    refuseWindows(config);
    const traits = traitsOf(config);
    const attention = readGrouped(config, traits.attention, traits.absent);
    const isSparse = sparseByStep(config);
    const experts = readExperts(config, traits.experts);
    return {
      ...readSizes(config),
      rotary: readRotary(config, { width: attention.headDim, pairs: 'halves' }),
      layers: eachLayer(config, (layer) => ({
        attention,
        mlp: isSparse(layer) ? experts : readDense(config),
      })),
    };
  };
}

export const qwen2Moe = sparse((config) => ({
  attention: { inputBias: config.flag('qkv_bias', true) },
  absent: { headDim: 'hidden / heads' },
  experts: {
    shared: { width: config.size('shared_expert_intermediate_size'), gated: true },
    routing: { normalise: config.flag('norm_topk_prob') },
  },
}));

export const qwen3Moe = sparse((config) => ({
  attention: { ...allBiases(config), norm: 'before-rotation' },
  experts: { routing: { normalise: config.flag('norm_topk_prob') } },
}));
