/** Qwen3-Next and Qwen3.5: three layers of four are gated delta nets, the fourth has gated attention. */
import type { ConfigReader } from '../config/config-reader.ts';
import { readDense, readExperts, sparseByStep } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { agreedLayers, type LayerRule, readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import type { DeltaSpec } from '../spec.ts';

function readDelta(config: ConfigReader): DeltaSpec {
  const [keyHeads, valueHeads] = [config.size('linear_num_key_heads'), config.size('linear_num_value_heads')];
  if (valueHeads % keyHeads !== 0) {
    throw config.odd('linear_num_value_heads', valueHeads, `a multiple of ${keyHeads} key heads`);
  }
  return {
    kind: 'delta',
    keyHeads,
    valueHeads,
    keyDim: config.size('linear_key_head_dim'),
    valueDim: config.size('linear_value_head_dim'),
    kernel: config.size('linear_conv_kernel_dim'),
  };
}

/** True for a layer with attention. */
function attends(config: ConfigReader): LayerRule {
  const field = 'full_attention_interval';
  const list = { name: 'layer_types', known: ['linear_attention', 'full_attention'], type: 'full_attention' } as const;
  const interval = config.has(field) ? config.size(field) : undefined;
  return agreedLayers(config, list, {
    fields: [field],
    isOf: interval === undefined ? undefined : (layer) => (layer + 1) % interval === 0,
  });
}

function hybrid(normalises: (config: ConfigReader) => boolean): Family {
  return (config) => {
    config.only('attention_bias', false);
    config.only('attn_output_gate', true);
    config.only('output_gate_type', 'swish', 'silu');
    config.only('use_sliding_window', false);
    const delta = readDelta(config);
    const grouped = readGrouped(config, { norm: 'before-rotation', gated: true });
    const hasAttention = attends(config);
    const isSparse = sparseByStep(config);
    const shared = { width: config.size('shared_expert_intermediate_size'), gated: true };
    const experts = readExperts(config, { shared, routing: { normalise: normalises(config) } });
    return {
      ...readSizes(config),
      normsAddOne: true,
      rotary: readRotary(config, { width: grouped.headDim, pairs: 'halves', partial: true }),
      layers: eachLayer(config, (layer) => ({
        attention: hasAttention(layer) ? grouped : delta,
        mlp: isSparse(layer) ? experts : readDense(config),
      })),
    };
  };
}

export const qwen3Next = hybrid((config) => config.flag('norm_topk_prob'));
/** Always divides by the sum. */
export const qwen35Moe = hybrid((config) => {
  config.only('norm_topk_prob', true);
  return true;
});
