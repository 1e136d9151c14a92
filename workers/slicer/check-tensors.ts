/** Holds a checkpoint's tensors against what its config promises, before any of them is read. */
import { TriremeError } from '#platform/errors.ts';
import { expectedTensors } from '../models/expected-tensors.ts';
import { familyOf } from '../models/families.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type Checkpoint, missingTensor } from './checkpoint.ts';
import { floatTypes, isFloatType } from './widen.ts';

/**
 * Errors: MISSING_TENSOR; TENSOR_SHAPE; INVALID_CHECKPOINT for an element type that is not read, or a tensor that the
 * family would silently leave out.
 */
export function checkTensors(checkpoint: Checkpoint): void {
  const expected = expectedTensors(checkpoint.spec);
  for (const { name, shape } of expected) {
    const stored = checkpoint.tensor(name);
    if (!stored) throw missingTensor(name);
    if (stored.shape.length !== shape.length || stored.shape.some((size, i) => size !== shape[i])) {
      throw new TriremeError(
        'TENSOR_SHAPE',
        `tensor ${name} has shape [${stored.shape.join(', ')}], config.json asks for [${shape.join(', ')}]`,
        { remedy: 'config.json and weights must be of one model: fetch both again' },
      );
    }
    if (!isFloatType(stored.dtype)) {
      throw new TriremeError(
        'INVALID_CHECKPOINT',
        `tensor ${name} is stored as ${stored.dtype}; supported: ${floatTypes.join(', ')}`,
        { remedy: 'Fetch the model as it was before it was quantised' },
      );
    }
  }
  refuseUnread(checkpoint, new Set(expected.map(({ name }) => name)), checkpoint.spec);
}

function refuseUnread(checkpoint: Checkpoint, read: ReadonlySet<string>, spec: ModelSpec): void {
  const { tensors } = familyOf(spec.family);
  for (const { name } of checkpoint.tensors) {
    const isUnusedHead = spec.tiedEmbeddings && name === tensors.head;
    if (read.has(name) || isUnusedHead || tensors.isExtra(name, spec.layers.length)) continue;
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `tensor ${name} is no part of a ${spec.family} model as config.json describes it; leaving it out would change the model`,
      { remedy: 'config.json and weights must be of one model: fetch both again' },
    );
  }
}
