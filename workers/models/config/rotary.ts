/** Rotary embedding in the spelling of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters). */
import { isDeepStrictEqual } from 'node:util';
import type { RotaryScaling, RotarySpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';

/** How a family places rotation, beside what its config says of angles. */
export interface RotaryPlacement {
  /** Dimensions of a head that may be rotated. */
  readonly width: number;
  readonly pairs: RotarySpec['pairs'];
  /** A part of them may be: the config must say which. */
  readonly partial?: boolean;
  /** Of a config that does not say; absent, it must. */
  readonly theta?: number;
}

/** Errors: INVALID_CHECKPOINT, also for two fields that say different things. */
export function readRotary(config: ConfigReader, placement: RotaryPlacement): RotarySpec {
  const dims = rotatedDims(config, placement);
  const { theta, scaling } = readAngles(config, dims, placement.theta);
  return { theta, dims, pairs: placement.pairs, scaling };
}

/** What latent attention multiplies its scores by beside (query width)^-0.5. */
export function latentScoreFactor(config: ConfigReader, dims: number): number {
  return readAngles(config, dims).scoreFactor;
}

/** The sections that may say something of angles, in the spelling of transformers 5 and of 4. */
function sections(config: ConfigReader) {
  const parameters = config.section('rope_parameters');
  const legacy = config.section('rope_scaling');
  // Angles of images; text has the same three positions, which is plain rotation.
  for (const section of [parameters, legacy]) section?.ignore(['mrope_section', 'mrope_interleaved']);
  return { parameters, legacy };
}

/** The part of a head that is rotated, by any of the fields that say so. */
function rotatedDims(config: ConfigReader, { width, partial = false }: RotaryPlacement): number {
  const { parameters, legacy } = sections(config);
  const claims = [config, parameters, legacy].flatMap((reader) =>
    reader?.has('partial_rotary_factor') ? [reader.positive('partial_rotary_factor') * width] : [],
  );
  if (config.has('rotary_dim')) claims.push(config.size('rotary_dim'));
  // Implementations differ in what they then take.
  if (partial && claims.length === 0) throw config.missing(['partial_rotary_factor', 'rotary_dim']);
  const dims = claims[0] ?? width;
  const isFine = Number.isInteger(dims) && dims % 2 === 0 && dims <= width && claims.every((claim) => claim === dims);
  if (isFine && (partial || dims === width)) return dims;
  const wanted = partial ? `one even part of ${width}, the same wherever it is said` : `${width}, all of a head`;
  throw config.odd('partial_rotary_factor or rotary_dim', claims, wanted);
}

interface Angles {
  readonly theta: number;
  readonly scaling: RotaryScaling;
  readonly scoreFactor: number;
}

function readAngles(config: ConfigReader, dims: number, fallback?: number): Angles {
  const { parameters, legacy } = sections(config);
  const theta = readTheta(config, parameters, fallback);
  const plain: Angles = { theta, scaling: { kind: 'none' }, scoreFactor: 1 };
  const [angles = plain, other = angles] = [parameters, legacy].flatMap((section) =>
    section ? [anglesOf(section, config, plain, dims)] : [],
  );
  if (!isDeepStrictEqual(angles, other)) throw config.odd('rope_scaling', other.scaling, 'what rope_parameters says');
  return angles;
}

function readTheta(config: ConfigReader, parameters: ConfigReader | undefined, fallback?: number): number {
  if (!parameters) return config.positive('rope_theta', fallback);
  // transformers 5 always writes it there; without it the section has another form, per layer type for one.
  if (!parameters.has('rope_theta') && !config.has('rope_theta')) throw parameters.missing('rope_theta');
  const theta = parameters.positive('rope_theta', config.has('rope_theta') ? config.positive('rope_theta') : undefined);
  if (!config.has('rope_theta') || config.positive('rope_theta') === theta) return theta;
  throw config.odd('rope_theta', config.positive('rope_theta'), `${theta}, as in rope_parameters`);
}

function anglesOf(section: ConfigReader, config: ConfigReader, plain: Angles, dims: number): Angles {
  const type = kindOf(section);
  switch (type) {
    case 'default':
      return plain;
    case 'dynamic':
      return { ...plain, theta: byAlpha(section, plain.theta, dims) };
    case 'linear':
      return { ...plain, scaling: { kind: 'linear', factor: section.positive('factor') } };
    case 'llama3':
      return { ...plain, scaling: readLlama3(section) };
    case 'yarn':
      return { ...plain, scaling: readYarn(section, config), scoreFactor: scoreFactor(section) };
    default:
      throw section.unsupported('rope_type', type, 'default, linear, llama3, yarn, dynamic with alpha');
  }
}

/** Both names of it are written at times. */
function kindOf(section: ConfigReader): string {
  const [type, legacy] = [section.text('rope_type'), section.text('type')];
  if (type !== undefined && legacy !== undefined && type !== legacy) {
    throw section.odd('type', legacy, `${type}, as rope_type says`);
  }
  const scaled = section.names.find((name) => !unscaled.has(name) && section.has(name));
  if (type === undefined && legacy === undefined && scaled !== undefined) throw section.missing(['rope_type', 'type']);
  return type ?? legacy ?? 'default';
}

/** What a section may hold that scales nothing. */
const unscaled: ReadonlySet<string> = new Set([
  'rope_theta',
  'partial_rotary_factor',
  'mrope_section',
  'mrope_interleaved',
]);

/** Hunyuan: a larger base, the same at every length. */
function byAlpha(section: ConfigReader, theta: number, dims: number): number {
  if (!section.has('alpha')) throw section.unsupported('rope_type', 'dynamic', 'dynamic with a fixed alpha');
  section.only('factor', 1);
  // Of YaRN, which this is not, whatever they say.
  section.ignore(['beta_fast', 'beta_slow', 'mscale', 'mscale_all_dim']);
  return theta * section.positive('alpha') ** (dims / (dims - 2));
}

function readLlama3(section: ConfigReader): RotaryScaling {
  const lowFrequencyFactor = section.positive('low_freq_factor');
  const highFrequencyFactor = section.positive('high_freq_factor');
  if (highFrequencyFactor <= lowFrequencyFactor) {
    throw section.odd('high_freq_factor', highFrequencyFactor, `more than low_freq_factor ${lowFrequencyFactor}`);
  }
  return {
    kind: 'llama3',
    factor: section.positive('factor'),
    lowFrequencyFactor,
    highFrequencyFactor,
    originalContext: section.size('original_max_position_embeddings'),
  };
}

function readYarn(section: ConfigReader, config: ConfigReader): RotaryScaling {
  const [betaFast, betaSlow] = [section.positive('beta_fast', 32), section.positive('beta_slow', 1)];
  if (betaFast < betaSlow) throw section.odd('beta_fast', betaFast, `at least beta_slow ${betaSlow}`);
  const originalContext = section.size('original_max_position_embeddings');
  // gpt-oss says the same once more.
  if (config.has('initial_context_length') && config.size('initial_context_length') !== originalContext) {
    const wanted = `${originalContext}, as original_max_position_embeddings says`;
    throw config.odd('initial_context_length', config.size('initial_context_length'), wanted);
  }
  return {
    kind: 'yarn',
    factor: section.positive('factor'),
    betaFast,
    betaSlow,
    originalContext,
    truncate: section.flag('truncate', true),
    attentionFactor: attentionFactor(section),
  };
}

/** g(factor, mscale) of DeepSeek's YaRN. */
function growth(factor: number, mscale: number): number {
  return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
}

function attentionFactor(section: ConfigReader): number {
  const factor = section.positive('factor');
  const hasScales = section.has('mscale_all_dim');
  // Implementations differ in what one of them means without the other.
  if (hasScales !== section.has('mscale')) throw section.missing(hasScales ? 'mscale' : 'mscale_all_dim');
  const computed = hasScales
    ? growth(factor, section.positive('mscale')) / growth(factor, section.positive('mscale_all_dim'))
    : growth(factor, 1);
  if (!section.has('attention_factor')) return computed;
  const stated = section.positive('attention_factor');
  if (hasScales && Math.abs(stated - computed) > 1e-6 * computed) {
    throw section.odd('attention_factor', stated, `${computed}, as mscale and mscale_all_dim say`);
  }
  return stated;
}

function scoreFactor(section: ConfigReader): number {
  if (!section.has('mscale_all_dim')) return 1;
  return growth(section.positive('factor'), section.positive('mscale_all_dim')) ** 2;
}
