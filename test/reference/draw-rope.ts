/** Random rope settings, in the spelling of transformers 4 or of 5. */
import type { Json } from './drawn-model.ts';
import type { Random } from './random.ts';

export type RopeKind = 'default' | 'linear' | 'llama3' | 'yarn' | 'dynamic';

export interface RopeDraw {
  readonly kinds: readonly RopeKind[];
  /** yarn: mscale and mscale_all_dim may be given. */
  readonly magnitudes?: boolean;
  /** Share of a head that turns. */
  readonly partial?: number;
}

/** Fields of config.json. */
export function drawRope(random: Random, { kinds, magnitudes = false, partial }: RopeDraw): Json {
  const kind = random.pick(kinds);
  const theta = kind === 'llama3' ? 100 : random.pick([100, 10_000, 50_000, 1_000_000]);
  const scaling = scalingFields(random, kind, magnitudes);
  const share = partial === undefined ? {} : { partial_rotary_factor: partial };
  if (random.oneIn(2)) return { rope_parameters: { rope_type: kind, rope_theta: theta, ...scaling, ...share } };
  const name = random.pick(['type', 'rope_type']);
  const isPlain = kind === 'default' && random.oneIn(2);
  return { rope_theta: theta, rope_scaling: isPlain ? null : { [name]: kind, ...scaling }, ...share };
}

function scalingFields(random: Random, kind: RopeKind, magnitudes: boolean): Json {
  switch (kind) {
    case 'default':
      return {};
    case 'linear':
      return { factor: random.pick([2, 3.5]) };
    case 'dynamic':
      return { alpha: random.pick([3, 1000]), factor: 1, beta_fast: 32, beta_slow: 1, mscale: 1, mscale_all_dim: 1 };
    case 'llama3':
      return {
        factor: random.pick([4, 8]),
        low_freq_factor: 1,
        high_freq_factor: random.pick([2, 4]),
        original_max_position_embeddings: random.pick([16, 32, 64]),
      };
    case 'yarn':
      return yarnFields(random, magnitudes);
  }
}

function yarnFields(random: Random, magnitudes: boolean): Json {
  const [fast, slow] = random.pick([
    [32, 1],
    [4, 1],
    [1, 1],
    [3, 2],
    [undefined, undefined],
  ]);
  const rounding = random.pick([{}, { truncate: true }, { truncate: false }]);
  const attention = random.oneIn(4) ? { attention_factor: 1.25 } : {};
  const [mscale, all] = random.pick([
    [1, 1],
    [0.7, 0.7],
    [0.5, 1],
    [1, 0.3],
  ]);
  return {
    factor: random.pick([2, 4, 40]),
    original_max_position_embeddings: random.pick([32, 64, 4096]),
    ...(fast === undefined ? {} : { beta_fast: fast, beta_slow: slow }),
    ...rounding,
    ...(magnitudes && random.oneIn(2) ? { mscale, mscale_all_dim: all } : attention),
  };
}

/** A quarter, a half or all of a head, where that is an even number. */
export function drawPartial(random: Random, headDim: number): number {
  return random.pick([0.25, 0.5, 1].filter((share) => (headDim * share) % 2 === 0));
}
