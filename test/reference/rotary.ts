/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864) with the ways of stretching it that checkpoints ask for: linear
 * interpolation, YaRN (Peng et al. 2023, arXiv 2309.00071), Llama 3's bands, and the fixed base of Hunyuan.
 */
import type { ConfigFields } from './config-fields.ts';
import type { Vector } from './vectors.ts';

/** Which two values turn together: i and i + width / 2, or 2 i and 2 i + 1. */
export type RotaryStyle = 'half-split' | 'interleaved';

export interface RopeFields {
  /** rope_parameters, or rope_scaling and the fields beside it. */
  readonly rope: ConfigFields;
  readonly kind: string;
  readonly theta: number;
  /** Used where the rope fields do not say which length the model was trained on. */
  readonly contextLength: number;
}

/** Either spelling: rope_parameters, or rope_theta and rope_scaling at the top. */
export function ropeFields(config: ConfigFields): RopeFields {
  const contextLength = config.number('max_position_embeddings', 0);
  const whole = config.inner('rope_parameters');
  if (whole)
    return { rope: whole, kind: whole.text('rope_type', 'default'), theta: whole.number('rope_theta'), contextLength };
  const scaling = config.inner('rope_scaling');
  const kind = scaling?.text('rope_type', scaling.text('type', 'default')) ?? 'default';
  return { rope: scaling ?? config, kind, theta: config.number('rope_theta', 10_000), contextLength };
}

/** Share of a head that turns, or the number of values itself where a field gives it. */
export function rotaryWidth(config: ConfigFields, headDim: number): number {
  const factor = config.inner('rope_parameters')?.has('partial_rotary_factor')
    ? config.inner('rope_parameters')!.number('partial_rotary_factor')
    : config.number('partial_rotary_factor', 1);
  return config.number('rotary_dim', Math.trunc(headDim * factor));
}

export class Rotary {
  readonly #frequencies: readonly number[];
  readonly #factor: number;
  readonly #style: RotaryStyle;

  /** `width` values are turned, the first ones of what is handed over. */
  constructor(fields: RopeFields, width: number, style: RotaryStyle) {
    this.#style = style;
    this.#frequencies = frequenciesOf(fields, width);
    this.#factor = fields.kind === 'yarn' ? yarnFactor(fields.rope) : 1;
  }

  turn(x: Vector, position: number): Vector {
    const turned = x.slice();
    const half = this.#frequencies.length;
    for (const [i, frequency] of this.#frequencies.entries()) {
      const [a, b] = this.#style === 'half-split' ? [i, i + half] : [2 * i, 2 * i + 1];
      const cos = Math.cos(position * frequency) * this.#factor;
      const sin = Math.sin(position * frequency) * this.#factor;
      turned[a] = x[a]! * cos - x[b]! * sin;
      turned[b] = x[b]! * cos + x[a]! * sin;
    }
    return turned;
  }
}

function frequenciesOf(fields: RopeFields, width: number): readonly number[] {
  const { rope, kind, theta } = fields;
  const plain = (base: number): number[] => Array.from({ length: width / 2 }, (_, i) => base ** ((-2 * i) / width));
  switch (kind) {
    case 'default':
      return plain(theta);
    case 'linear':
      return plain(theta).map((frequency) => frequency / rope.number('factor'));
    case 'dynamic':
      return plain(theta * rope.number('alpha') ** (width / (width - 2)));
    case 'llama3':
      return plain(theta).map((frequency) => llama3Frequency(frequency, rope));
    case 'yarn':
      return yarnFrequencies(plain(theta), fields, width);
    default:
      throw new Error(`the reference knows no rope of type ${kind}`);
  }
}

/** Long waves are stretched, short ones kept, those between blended. */
function llama3Frequency(frequency: number, rope: ConfigFields): number {
  const factor = rope.number('factor');
  const low = rope.number('low_freq_factor');
  const high = rope.number('high_freq_factor');
  const turns = (rope.number('original_max_position_embeddings') * frequency) / (2 * Math.PI);
  if (turns > high) return frequency;
  if (turns < low) return frequency / factor;
  const share = (turns - low) / (high - low);
  return (1 - share) * (frequency / factor) + share * frequency;
}

function yarnFrequencies(plain: readonly number[], fields: RopeFields, width: number): readonly number[] {
  const { rope, theta, contextLength } = fields;
  const length = rope.number('original_max_position_embeddings', contextLength);
  const edge = (turns: number): number => (width * Math.log(length / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const inside = (value: number): number => Math.min(Math.max(value, 0), width - 1);
  const whole = rope.flag('truncate', true);
  const fast = edge(rope.number('beta_fast', 32));
  const slow = edge(rope.number('beta_slow', 1));
  const low = inside(whole ? Math.floor(fast) : fast);
  const end = inside(whole ? Math.ceil(slow) : slow);
  const high = end === low ? end + 0.001 : end;
  return plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1);
    return (frequency / rope.number('factor')) * ramp + frequency * (1 - ramp);
  });
}

/** g(f, m) of the YaRN models: 0.1 m ln f + 1. */
function magnitude(factor: number, m: number): number {
  return factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;
}

/** What cosines and sines are multiplied by. */
function yarnFactor(rope: ConfigFields): number {
  const factor = rope.number('factor');
  if (rope.has('attention_factor')) return rope.number('attention_factor');
  if (!rope.has('mscale') || !rope.has('mscale_all_dim')) return magnitude(factor, 1);
  return magnitude(factor, rope.number('mscale')) / magnitude(factor, rope.number('mscale_all_dim'));
}

/** What the scores of latent attention are multiplied by beside 1 / sqrt(width). */
export function latentScoreFactor({ rope, kind }: RopeFields): number {
  if (kind !== 'yarn' || !rope.has('mscale_all_dim')) return 1;
  return magnitude(rope.number('factor'), rope.number('mscale_all_dim')) ** 2;
}
