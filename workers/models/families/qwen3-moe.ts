/** Qwen3-MoE: every query and key head is normalised, most layers have experts, chosen by softmax. */
import type { ConfigReader } from '../config-reader.ts';
import type { Family } from '../family.ts';
import type { DenseSpec, ExpertsSpec, GroupedSpec, LayerSpec } from '../spec.ts';
import { readGrouped, readRotary, readSizes, refuseUnsupported } from '../transformer-config.ts';

function readExperts(config: ConfigReader): ExpertsSpec {
  const experts = config.size(['num_experts', 'num_local_experts']);
  const chosen = config.size('num_experts_per_tok');
  if (chosen > experts) throw config.odd('num_experts_per_tok', chosen, `at most the ${experts} experts`);
  return {
    kind: 'experts',
    experts,
    chosen,
    width: config.size('moe_intermediate_size'),
    bias: false,
    activation: { kind: 'silu' },
    shared: null,
    routing: {
      score: 'softmax',
      bias: false,
      correction: false,
      groups: null,
      normalise: config.flag('norm_topk_prob', false),
      scale: 1,
    },
  };
}

function readLayers(config: ConfigReader, attention: GroupedSpec): readonly LayerSpec[] {
  const count = config.size('num_hidden_layers');
  const isLayer = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < count;
  const dense = new Set(config.list('mlp_only_layers', `layers from 0 to ${count - 1}`, isLayer));
  const step = config.size('decoder_sparse_step', 1);
  const hasExperts = (layer: number): boolean => !dense.has(layer) && (layer + 1) % step === 0;
  return Array.from({ length: count }, (_, layer) => ({
    attention,
    mlp: hasExperts(layer) ? readExperts(config) : readDense(config),
  }));
}

function readDense(config: ConfigReader): DenseSpec {
  return { kind: 'dense', width: config.size('intermediate_size'), bias: false };
}

export const qwen3Moe: Family = (config) => {
  refuseUnsupported(config);
  if (config.flag('use_sliding_window', false) && config.has('sliding_window')) {
    throw config.unsupported('use_sliding_window', true, 'false (attention over the whole context)');
  }
  const attention = readGrouped(config, { norm: 'before-rotation' });
  return {
    ...readSizes(config),
    rotary: readRotary(config, attention.headDim),
    layers: readLayers(config, attention),
  };
};
