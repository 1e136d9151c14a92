/** rope_freqs.weight: what the frequency of each pair of rotated dimensions is divided by. */
import { TriremeError } from '#platform/errors.ts';
import type { RotarySpec } from '../../models/spec.ts';
import type { PlacedTensors } from '../placed-tensors.ts';

const tensorName = 'rope_freqs.weight';

/** `rotary` with the factors of the file, where it has some. Errors: INVALID_CHECKPOINT, those of reading. */
export async function withRopeFactors(rotary: RotarySpec, tensors: PlacedTensors, file: string): Promise<RotarySpec> {
  const tensor = tensors.get(tensorName);
  if (!tensor) return rotary;
  const pairs = rotary.dims / 2;
  const isFine = tensor.dtype === 'F32' && tensor.shape.length === 1 && tensor.shape[0] === pairs;
  if (!isFine) throw odd(file, `is ${tensor.dtype} [${tensor.shape.join(', ')}], expected F32 [${pairs}]`);
  if (rotary.scaling.kind !== 'none') throw odd(file, `comes with scaling of kind ${rotary.scaling.kind}`);
  const bytes = new Uint8Array(tensor.bytes);
  await tensors.read(tensorName, 0, bytes);
  const factors = [...new Float32Array(bytes.buffer)];
  const wrong = factors.find((factor) => !(factor > 0 && Number.isFinite(factor)));
  if (wrong !== undefined) throw odd(file, `holds ${wrong}, expected numbers above 0`);
  return { ...rotary, scaling: { kind: 'factors', factors } };
}

function odd(file: string, what: string): TriremeError {
  return new TriremeError('INVALID_CHECKPOINT', `${file}: tensor ${tensorName} ${what}`, {
    remedy: 'Fetch the file again, or another conversion of the model',
  });
}
