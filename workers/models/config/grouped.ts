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

/** What an absent field means in a family; where it means nothing, the field must be there. */
export interface AbsentSizes {
  /** head_dim: hidden_size / num_attention_heads. */
  readonly headDim?: 'hidden / heads';
  /** num_key_value_heads: as many as of queries, as before grouped attention. */
  readonly kvHeads?: 'heads';
}

/** `traits` are what the family has beside plain attention. */
export function readGrouped(
  config: ConfigReader,
  traits: Partial<GroupedSpec> = {},
  absent: AbsentSizes = {},
): GroupedSpec {
  const heads = config.size('num_attention_heads');
  const kvHeads = config.size('num_key_value_heads', absent.kvHeads && heads);
  if (heads % kvHeads !== 0) throw config.odd('num_key_value_heads', kvHeads, `a divisor of ${heads} query heads`);
  return { ...plain, heads, kvHeads, headDim: readHeadDim(config, heads, absent), ...traits };
}

const headDimNames = ['head_dim', 'attention_head_dim'];

function readHeadDim(config: ConfigReader, heads: number, absent: AbsentSizes): number {
  const hidden = config.size('hidden_size');
  const isThere = headDimNames.some((name) => config.has(name));
  if (!isThere && absent.headDim && hidden % heads !== 0) {
    throw config.odd('num_attention_heads', heads, `a divisor of hidden_size ${hidden}, as head_dim is absent`);
  }
  const headDim = config.size(headDimNames, absent.headDim && hidden / heads);
  if (headDim % 2 !== 0) throw config.odd('head_dim', headDim, 'an even number');
  return headDim;
}

/** Biases on queries, keys, values and output, all or none. */
export function allBiases(config: ConfigReader, fallback = false): Pick<GroupedSpec, 'inputBias' | 'outputBias'> {
  const bias = config.flag('attention_bias', fallback);
  return { inputBias: bias, outputBias: bias };
}
