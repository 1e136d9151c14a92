/** Rotary position embedding: cosines and sines of one position, in the half-split convention (pairs i, i + dims/2). */
import type { RotaryScaling, RotarySpec } from './spec.ts';

export class RotaryTable {
  readonly #frequencies: Float32Array;

  constructor(spec: RotarySpec) {
    this.#frequencies = Float32Array.from({ length: spec.dims / 2 }, (_, i) =>
      scaled(spec.theta ** ((-2 * i) / spec.dims), spec.scaling),
    );
  }

  /**
   * Writes dims/2 cosines and sines of a position at `offset` of both arrays. Frequency and angle are rounded to float32
   * as in the reference implementation, so that far positions see the angles the model was trained with.
   */
  fill(position: number, cos: Float32Array, sin: Float32Array, offset: number): void {
    for (let i = 0; i < this.#frequencies.length; i++) {
      const angle = Math.fround(position * this.#frequencies[i]!);
      cos[offset + i] = Math.cos(angle);
      sin[offset + i] = Math.sin(angle);
    }
  }
}

function scaled(frequency: number, scaling: RotaryScaling): number {
  if (scaling.kind === 'none') return frequency;
  if (scaling.kind === 'linear') return frequency / scaling.factor;
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  const wavesInContext = (originalContext * frequency) / (2 * Math.PI);
  if (wavesInContext > high) return frequency;
  if (wavesInContext < low) return frequency / factor;
  const kept = (wavesInContext - low) / (high - low);
  return (1 - kept) * (frequency / factor) + kept * frequency;
}
