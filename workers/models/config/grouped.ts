/** Grouped-query attention: sizes that all families spell alike; the rest is the family's. */
import type { GroupedSpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';

const plain: Omit<GroupedSpec, 'heads' | 'kvHeads' | 'headDim'> = {
  kind: 'grouped',
  norm: 'none',
  inputBias: false,
  outputBias: false,
  window: null,
  sinks: false,
  gated: false,
};

/** `traits` are what the family has beside plain attention. */
export function readGrouped(config: ConfigReader, traits: Partial<GroupedSpec> = {}): GroupedSpec {
  const heads = config.size('num_attention_heads');
  const kvHeads = config.size('num_key_value_heads', heads);
  if (heads % kvHeads !== 0) throw config.odd('num_key_value_heads', kvHeads, `a divisor of ${heads} query heads`);
  return { ...plain, heads, kvHeads, headDim: readHeadDim(config, heads), ...traits };
}

function readHeadDim(config: ConfigReader, heads: number): number {
  const hidden = config.size('hidden_size');
  if (!config.has('head_dim') && hidden % heads !== 0) {
    throw config.odd('num_attention_heads', heads, `a divisor of hidden_size ${hidden}, as head_dim is absent`);
  }
  const headDim = config.size('head_dim', hidden / heads);
  if (headDim % 2 !== 0) throw config.odd('head_dim', headDim, 'an even number');
  return headDim;
}

/** Biases on queries, keys, values and output, all or none. */
export function allBiases(config: ConfigReader): Pick<GroupedSpec, 'inputBias' | 'outputBias'> {
  const bias = config.flag('attention_bias', false);
  return { inputBias: bias, outputBias: bias };
}
