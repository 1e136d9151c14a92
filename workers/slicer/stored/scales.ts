/** Scales beside quantised weights, as float32. */
import { TriremeError } from '#platform/errors.ts';
import type { Checkpoint } from '../checkpoint.ts';
import type { StoredTensor } from '../safetensors.ts';
import { floatBytes, isFloatType, widen } from '../widen.ts';

/** A power of two alone: value 2^(byte - 127), and no number for 255. */
const exponentType = 'F8_E8M0';

export function fromExponent(byte: number): number {
  return byte === 0xff ? Number.NaN : 2 ** (byte - 127);
}

/** Errors: INVALID_CHECKPOINT unless the tensor has one of these shapes and a type that scales have. */
export function requireScale(scale: StoredTensor, shapes: readonly (readonly number[])[]): void {
  const fits = shapes.some(
    (shape) => shape.length === scale.shape.length && shape.every((n, i) => n === scale.shape[i]),
  );
  if (!fits) {
    const expected = shapes.map((shape) => `[${shape.join(', ')}]`).join(' or ');
    throw damaged(`tensor ${scale.name} has shape [${scale.shape.join(', ')}], expected ${expected}`);
  }
  if (isFloatType(scale.dtype) || scale.dtype === exponentType) return;
  throw damaged(`tensor ${scale.name} is stored as ${scale.dtype}, which is no type of scales`);
}

/** Elements first .. first+count-1. Errors: those of Checkpoint.read; INVALID_CHECKPOINT for what is no scale. */
export async function readScales(
  checkpoint: Checkpoint,
  { name, dtype }: StoredTensor,
  first: number,
  count: number,
): Promise<Float32Array> {
  const size = isFloatType(dtype) ? floatBytes[dtype] : 1;
  const bytes = new Uint8Array(count * size);
  await checkpoint.read(name, first * size, bytes);
  const values = new Float32Array(count);
  if (isFloatType(dtype)) widen(dtype, bytes.buffer, 0, count, values, 0);
  else for (let i = 0; i < count; i++) values[i] = fromExponent(bytes[i]!);
  refuseOddScales(values, name);
  return values;
}

/** One such scale spoils every weight under it. */
export function refuseOddScales(values: Float32Array, name: string): void {
  const odd = values.find((value) => !Number.isFinite(value));
  if (odd !== undefined) throw damaged(`tensor ${name} holds ${odd}, which is no scale`);
}

export function damaged(message: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', message, {
    remedy: 'Fetch config.json and the weights again; they must be of one model',
  });
}
