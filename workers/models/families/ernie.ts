/** ERNIE 4.5, dense and with experts: neighbouring dimensions turn together; scores are softmax, corrected for choosing. */
import type { ConfigReader } from '../config/config-reader.ts';
import { readDense, readExperts, sparseLayers } from '../config/experts.ts';
import { readGrouped } from '../config/grouped.ts';
import { readRotary } from '../config/rotary.ts';
import { type LayerRule, readSizes, refuseWindows } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import type { GroupedSpec } from '../spec.ts';

function readAttention(config: ConfigReader): GroupedSpec {
  refuseWindows(config);
  config.only('use_bias', false);
  config.only('compression_ratio', 1);
  return readGrouped(config, {}, { headDim: 'hidden / heads' });
}

/** From the first to the last of these layers, every so many. */
function sparseBetween(config: ConfigReader): LayerRule {
  const fields = ['moe_layer_start_index', 'moe_layer_end_index', 'moe_layer_interval'];
  return sparseLayers(config, fields, config.has('moe_layer_start_index') ? byRange(config) : undefined);
}

function byRange(config: ConfigReader): LayerRule {
  const layers = config.size('num_hidden_layers');
  const start = config.count('moe_layer_start_index');
  const interval = config.size('moe_layer_interval', 1);
  const last = config.isNumber('moe_layer_end_index', -1)
    ? layers - 1
    : config.count('moe_layer_end_index', layers - 1);
  return (layer) => layer >= start && layer <= last && (layer + 1) % interval === 0;
}

export const ernie: Family = (config) => {
  const attention = readAttention(config);
  const mlp = readDense(config);
  return {
    ...readSizes(config, true),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'neighbours' }),
    layers: eachLayer(config, () => ({ attention, mlp })),
  };
};

export const ernieMoe: Family = (config) => {
  const attention = readAttention(config);
  const isSparse = sparseBetween(config);
  const width = config.size('moe_intermediate_size');
  const count = config.count('moe_num_shared_experts', 0);
  const shared = count === 0 ? null : { width: count * width, gated: false };
  const routing = { correction: config.flag('moe_use_aux_free', true) };
  const experts = readExperts(config, { shared, routing });
  config.only('moe_norm_min', 1e-12); // Sums of chosen scores are never so small.
  config.only('moe_gate_act', 'softmax');
  return {
    ...readSizes(config, true),
    rotary: readRotary(config, { width: attention.headDim, pairs: 'neighbours' }),
    layers: eachLayer(config, (layer) => ({
      attention,
      mlp: isSparse(layer) ? experts : readDense(config),
    })),
  };
};
