/** Rotary embedding in the spelling of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters). */
import type { RotaryScaling, RotarySpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';

const defaultTheta = 10_000;

/** How a family places rotation, beside what its config says of angles. */
export interface RotaryPlacement {
  readonly dims: number;
  readonly pairs: RotarySpec['pairs'];
}

export function readRotary(config: ConfigReader, { dims, pairs }: RotaryPlacement): RotarySpec {
  const { parameters, scaling } = sections(config);
  const holder = parameters?.has('rope_theta') ? parameters : config;
  // transformers 5 always writes it; without it the section has another form, per layer type for one.
  if (parameters && !holder.has('rope_theta')) throw parameters.missing('rope_theta');
  const theta = holder.positive('rope_theta', defaultTheta);
  if (parameters && config.has('rope_theta') && config.positive('rope_theta') !== theta) {
    throw config.odd('rope_theta', config.positive('rope_theta'), `${theta}, as in rope_parameters`);
  }
  const spec = { theta, dims, pairs };
  const type = scaling ? (scaling.text('rope_type') ?? scaling.text('type') ?? 'default') : 'default';
  if (!scaling || type === 'default') return { ...spec, scaling: { kind: 'none' } };
  if (type === 'dynamic') return { ...spec, theta: byAlpha(scaling, theta, dims), scaling: { kind: 'none' } };
  return { ...spec, scaling: readScaling(scaling, type, config) };
}

function sections(config: ConfigReader) {
  const parameters = config.section('rope_parameters');
  const scaling = parameters ?? config.section('rope_scaling');
  // Angles of images; text has the same three positions, which is plain rotation.
  scaling?.ignore(['mrope_section', 'mrope_interleaved']);
  // Both names of the kind are written at times.
  scaling?.ignore(['type', 'rope_type']);
  return { parameters, scaling };
}

/** The part of a head that is rotated, by any of the fields that say so. Errors: INVALID_CHECKPOINT when they disagree. */
export function rotatedDims(config: ConfigReader, headDim: number): number {
  const { parameters, scaling } = sections(config);
  const claims = [config, parameters, scaling].flatMap((reader) =>
    reader?.has('partial_rotary_factor') ? [reader.positive('partial_rotary_factor') * headDim] : [],
  );
  if (config.has('rotary_dim')) claims.push(config.size('rotary_dim'));
  const dims = claims[0] ?? headDim;
  const isFine = Number.isInteger(dims) && dims % 2 === 0 && dims <= headDim && claims.every((claim) => claim === dims);
  if (!isFine) {
    const wanted = `one even part of ${headDim}, the same wherever it is said`;
    throw config.odd('partial_rotary_factor', claims, wanted);
  }
  return dims;
}

/** Hunyuan: a larger base, the same at every length. */
function byAlpha(scaling: ConfigReader, theta: number, dims: number): number {
  if (!scaling.has('alpha')) throw scaling.unsupported('rope_type', 'dynamic', 'dynamic with a fixed alpha');
  scaling.ignore(['factor', 'beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim']);
  return theta * scaling.positive('alpha') ** (dims / (dims - 2));
}

function readScaling(scaling: ConfigReader, type: string, config: ConfigReader): RotaryScaling {
  switch (type) {
    case 'linear':
      return { kind: 'linear', factor: scaling.positive('factor') };
    case 'llama3':
      return readLlama3(scaling, config);
    case 'yarn':
      return readYarn(scaling, config);
    default:
      throw scaling.unsupported('rope_type', type, 'default, linear, llama3, yarn, dynamic with alpha');
  }
}

function originalContext(scaling: ConfigReader, config: ConfigReader): number {
  const name = 'original_max_position_embeddings';
  return scaling.has(name) ? scaling.size(name) : config.size('max_position_embeddings');
}

function readLlama3(scaling: ConfigReader, config: ConfigReader): RotaryScaling {
  const lowFrequencyFactor = scaling.positive('low_freq_factor');
  const highFrequencyFactor = scaling.positive('high_freq_factor');
  if (highFrequencyFactor <= lowFrequencyFactor) {
    throw scaling.odd('high_freq_factor', highFrequencyFactor, `more than low_freq_factor ${lowFrequencyFactor}`);
  }
  const factor = scaling.positive('factor');
  return {
    kind: 'llama3',
    factor,
    lowFrequencyFactor,
    highFrequencyFactor,
    originalContext: originalContext(scaling, config),
  };
}

function readYarn(scaling: ConfigReader, config: ConfigReader): RotaryScaling {
  const factor = scaling.positive('factor');
  const [betaFast, betaSlow] = [scaling.positive('beta_fast', 32), scaling.positive('beta_slow', 1)];
  if (betaFast < betaSlow) throw scaling.odd('beta_fast', betaFast, `at least beta_slow ${betaSlow}`);
  return {
    kind: 'yarn',
    factor,
    betaFast,
    betaSlow,
    originalContext: originalContext(scaling, config),
    truncate: scaling.flag('truncate', true),
    attentionFactor: attentionFactor(scaling, factor),
  };
}

/** g(factor, mscale) of DeepSeek's YaRN. */
function growth(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

function attentionFactor(scaling: ConfigReader, factor: number): number {
  if (scaling.has('attention_factor')) return scaling.positive('attention_factor');
  if (!scaling.has('mscale') || !scaling.has('mscale_all_dim')) return growth(factor, 1);
  return growth(factor, scaling.positive('mscale')) / growth(factor, scaling.positive('mscale_all_dim'));
}

/** What latent attention multiplies its scores by beside (query width)^-0.5. */
export function latentScoreFactor(config: ConfigReader): number {
  const { scaling } = sections(config);
  if (!scaling?.has('mscale_all_dim') || !scaling.has('factor')) return 1;
  return growth(scaling.positive('factor'), scaling.positive('mscale_all_dim')) ** 2;
}
