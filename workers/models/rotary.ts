/**
 * Rotary position embedding: cosines and sines of one position. Which dimensions of a head turn together is for the graph that
 * applies them; number i is that of pair i either way.
 */
import type { RotaryScaling, RotarySpec } from './spec.ts';

export class RotaryTable {
  readonly #frequencies: Float32Array;
  readonly #factor: number;

  constructor({ theta, dims, scaling }: RotarySpec) {
    const scale = scalerOf(theta, dims, scaling);
    this.#frequencies = Float32Array.from({ length: dims / 2 }, (_, i) => scale(theta ** ((-2 * i) / dims), i));
    this.#factor = scaling.kind === 'yarn' ? scaling.attentionFactor : 1;
  }

  /**
   * Writes dims/2 cosines and sines of a position at `offset` of both arrays. Frequency and angle are rounded to float32
   * as in the reference implementation, so that far positions see the angles the model was trained with.
   */
  fill(position: number, cos: Float32Array, sin: Float32Array, offset: number): void {
    for (let i = 0; i < this.#frequencies.length; i++) {
      const angle = Math.fround(position * this.#frequencies[i]!);
      cos[offset + i] = Math.cos(angle) * this.#factor;
      sin[offset + i] = Math.sin(angle) * this.#factor;
    }
  }
}

type Scaler = (frequency: number, pair: number) => number;

function scalerOf(theta: number, dims: number, scaling: RotaryScaling): Scaler {
  switch (scaling.kind) {
    case 'none':
      return (frequency) => frequency;
    case 'linear':
      return (frequency) => frequency / scaling.factor;
    case 'factors':
      return (frequency, pair) => frequency / scaling.factors[pair]!;
    case 'llama3':
      return (frequency) => byWavelength(frequency, scaling);
    case 'yarn':
      return byDimension(theta, dims, scaling);
  }
}

/** Long waves are stretched, short ones kept, those between blended. */
function byWavelength(frequency: number, scaling: RotaryScaling & { kind: 'llama3' }): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const wavesInContext = (originalContext * frequency) / (2 * Math.PI);
  if (wavesInContext > high) return frequency;
  if (wavesInContext < low) return frequency / factor;
  const kept = (wavesInContext - low) / (high - low);
  return (1 - kept) * (frequency / factor) + kept * frequency;
}

/** The same by a ramp over the dimensions, between those that turn betaFast and betaSlow times in the original context. */
function byDimension(theta: number, dims: number, scaling: RotaryScaling & { kind: 'yarn' }): Scaler {
  const { factor, betaFast, betaSlow, originalContext, truncate } = scaling;
  const pairTurning = (times: number): number =>
    (dims * Math.log(originalContext / (times * 2 * Math.PI))) / (2 * Math.log(theta));
  const within = (value: number): number => Math.min(Math.max(value, 0), dims - 1);
  const low = within(truncate ? Math.floor(pairTurning(betaFast)) : pairTurning(betaFast));
  const high = within(truncate ? Math.ceil(pairTurning(betaSlow)) : pairTurning(betaSlow));
  const length = Math.max(high - low, 0.001);
  return (frequency, pair) => {
    const stretched = Math.min(Math.max((pair - low) / length, 0), 1);
    return (frequency / factor) * stretched + frequency * (1 - stretched);
  };
}
