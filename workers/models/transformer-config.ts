/**
 * What the configs of grouped-query transformers have in common: sizes, attention and rotary embedding, in the spelling
 * of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters).
 */
import type { ConfigReader } from './config-reader.ts';
import type { GroupedSpec, ModelSpec, RotaryScaling, RotarySpec } from './spec.ts';

const defaultTheta = 10_000;

function isString(value: unknown): value is string {
  return typeof value === 'string';
}

/** Refuses what no family of this kind computes: quantised weights, windows, other activations. */
export function refuseUnsupported(config: ConfigReader): void {
  if (config.has('quantization_config')) {
    const method = config.section('quantization_config')?.text('quant_method') ?? 'unnamed method';
    throw config.unsupported('quantization_config', method, 'checkpoints in bfloat16, float16 or float32');
  }
  const activation = config.text('hidden_act') ?? 'silu';
  if (activation !== 'silu') throw config.unsupported('hidden_act', activation, 'silu');
  const odd = config.list('layer_types', 'strings', isString).find((type) => type !== 'full_attention');
  if (odd) throw config.unsupported('layer_types', odd, 'full_attention');
}

/** Grouped attention with a bias on every projection where attention_bias says so. */
export function readGrouped(config: ConfigReader, options: Pick<GroupedSpec, 'norm'>): GroupedSpec {
  const heads = config.size('num_attention_heads');
  const kvHeads = config.size('num_key_value_heads', heads);
  if (heads % kvHeads !== 0) throw config.odd('num_key_value_heads', kvHeads, `a divisor of ${heads} query heads`);
  const bias = config.flag('attention_bias', false);
  return {
    kind: 'grouped',
    heads,
    kvHeads,
    headDim: readHeadDim(config, heads),
    ...options,
    inputBias: bias,
    outputBias: bias,
    window: null,
    sinks: false,
    gated: false,
  };
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

export function readSizes(
  config: ConfigReader,
): Pick<
  ModelSpec,
  'vocabularySize' | 'hiddenSize' | 'contextLength' | 'normEpsilon' | 'normsAddOne' | 'tiedEmbeddings'
> {
  return {
    vocabularySize: config.size('vocab_size'),
    hiddenSize: config.size('hidden_size'),
    contextLength: config.size('max_position_embeddings'),
    normEpsilon: config.positive('rms_norm_eps', 1e-6),
    normsAddOne: false,
    tiedEmbeddings: config.flag('tie_word_embeddings', false),
  };
}

/** Of heads that are rotated whole. */
export function readRotary(config: ConfigReader, headDim: number): RotarySpec {
  const parameters = config.section('rope_parameters');
  const scaling = parameters ?? config.section('rope_scaling');
  for (const reader of [config, parameters]) {
    const factor = reader?.positive('partial_rotary_factor', 1) ?? 1;
    if (factor !== 1) throw config.unsupported('partial_rotary_factor', factor, '1');
  }
  const holder = parameters?.has('rope_theta') ? parameters : config;
  // transformers 5 always writes it; without it the section has another form, per layer type for one.
  if (parameters && !holder.has('rope_theta')) throw parameters.missing('rope_theta');
  const theta = holder.positive('rope_theta', defaultTheta);
  return {
    theta,
    dims: headDim,
    pairs: 'halves',
    scaling: scaling ? readScaling(scaling, config) : { kind: 'none' },
  };
}

function readScaling(scaling: ConfigReader, config: ConfigReader): RotaryScaling {
  const type = scaling.text('rope_type') ?? scaling.text('type') ?? 'default';
  switch (type) {
    case 'default':
      return { kind: 'none' };
    case 'linear':
      return { kind: 'linear', factor: scaling.positive('factor') };
    case 'llama3': {
      const lowFrequencyFactor = scaling.positive('low_freq_factor');
      const highFrequencyFactor = scaling.positive('high_freq_factor');
      if (highFrequencyFactor <= lowFrequencyFactor) {
        throw scaling.odd('high_freq_factor', highFrequencyFactor, `more than low_freq_factor ${lowFrequencyFactor}`);
      }
      const originalContext = scaling.has('original_max_position_embeddings')
        ? scaling.size('original_max_position_embeddings')
        : config.size('max_position_embeddings');
      const factor = scaling.positive('factor');
      return { kind: 'llama3', factor, lowFrequencyFactor, highFrequencyFactor, originalContext };
    }
    default:
      throw scaling.unsupported('rope_type', type, 'default, linear, llama3');
  }
}
