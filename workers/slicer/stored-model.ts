/** What planning asks of a checkpoint. */
import type { ModelSpec } from '../models/spec.ts';
import type { StoredIntegers } from './stored/integers.ts';

export interface StoredModel {
  readonly spec: ModelSpec;
  /** What a tensor of the model is made of, where that is integers. */
  integers(tensor: string): StoredIntegers | undefined;
}

/** One whose tensors are stored as floats. */
export function floatModel(spec: ModelSpec): StoredModel {
  return { spec, integers: () => undefined };
}
