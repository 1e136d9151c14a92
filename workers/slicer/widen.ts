/** Stored floating-point elements become float32; each value is represented exactly. */
import { assert } from '#platform/assert.ts';

export const floatTypes = ['BF16', 'F16', 'F32'] as const;
export type FloatType = (typeof floatTypes)[number];

export function isFloatType(dtype: string): dtype is FloatType {
  return (floatTypes as readonly string[]).includes(dtype);
}

export const floatBytes: Readonly<Record<FloatType, number>> = { BF16: 2, F16: 2, F32: 4 };

/** Writes `count` elements of `source`, from element `from`, to `target` from element `at`. `source` is aligned to its elements. */
export function widen(
  dtype: FloatType,
  source: ArrayBuffer,
  from: number,
  count: number,
  target: Float32Array,
  at: number,
): void {
  assert(at + count <= target.length, 'the target holds what is widened into it');
  switch (dtype) {
    case 'BF16': {
      const halves = new Uint16Array(source, from * 2, count);
      const words = new Uint32Array(target.buffer, target.byteOffset + at * 4, count);
      for (let i = 0; i < count; i++) words[i] = halves[i]! << 16;
      return;
    }
    case 'F16':
      target.set(new Float16Array(source, from * 2, count), at);
      return;
    case 'F32':
      target.set(new Float32Array(source, from * 4, count), at);
  }
}
