/** Qwen3-Next and Qwen3.5: three layers of four are gated delta nets, the fourth has gated attention. */
import type { ConfigReader } from '../config/config-reader.ts';
import { readDense, readExperts, sparseByStep } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary, rotatedDims } from '../config/rotary.ts';
import { readLayerTypes, readSizes } from '../config/sizes.ts';
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
function attends(config: ConfigReader): (layer: number) => boolean {
  const interval = config.size('full_attention_interval', 4);
  const types = readLayerTypes(config);
  const odd = types.find((type) => type !== 'linear_attention' && type !== 'full_attention');
  if (odd !== undefined) throw config.unsupported('layer_types', odd, 'linear_attention, full_attention');
  if (types.length === 0) return (layer) => (layer + 1) % interval === 0;
  return (layer) => types[layer] === 'full_attention';
}

function hybrid(normalises: (config: ConfigReader) => boolean): Family {
  return (config) => {
    if (config.flag('attention_bias', false)) throw config.unsupported('attention_bias', true, 'false');
    if (!config.flag('attn_output_gate', true)) throw config.unsupported('attn_output_gate', false, 'true');
    const delta = readDelta(config);
    const grouped = readGrouped(config, { norm: 'before-rotation', gated: true });
    const hasAttention = attends(config);
    const isSparse = sparseByStep(config);
    config.ignore(['intermediate_size']); // Of dense layers, which many of these models do not have.
    const shared = { width: config.size('shared_expert_intermediate_size'), gated: true };
    const experts = readExperts(config, { shared, routing: { normalise: normalises(config) } });
    return {
      ...readSizes(config),
      normsAddOne: true,
      rotary: readRotary(config, { dims: rotatedDims(config, grouped.headDim), pairs: 'halves' }),
      layers: eachLayer(config, (layer) => ({
        attention: hasAttention(layer) ? grouped : delta,
        mlp: isSparse(layer) ? experts : readDense(config),
      })),
    };
  };
}

export const qwen3Next = hybrid((config) => config.flag('norm_topk_prob', true));
/** Always divides by the sum, whatever the config says. */
export const qwen35Moe = hybrid((config) => config.flag('norm_topk_prob', true) || true);
