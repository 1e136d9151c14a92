/** All tensors of a checkpoint that can be read, by name: each format recognises its own. */
import type { Checkpoint } from '../checkpoint.ts';
import { floatTensor } from './float-tensor.ts';
import { type ReadableTensor, ReadBuffer } from './readable-tensor.ts';

export function readableTensors(checkpoint: Checkpoint): ReadonlyMap<string, ReadableTensor> {
  const buffer = new ReadBuffer();
  const tensors = new Map<string, ReadableTensor>();
  for (const stored of checkpoint.tensors) {
    const tensor = floatTensor(checkpoint, stored, buffer);
    if (tensor) tensors.set(tensor.name, tensor);
  }
  return tensors;
}
