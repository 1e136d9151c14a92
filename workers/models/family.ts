/**
 * What a family of models is to the rest: a reader of its config.json and the names of its tensors. It contains no
 * sharding arithmetic (shard.ts) and no bytes (the slicer).
 */
import type { ConfigReader } from './config-reader.ts';
import type { ModelSpec } from './spec.ts';
import type { TensorNames } from './tensor-names.ts';

export interface Family {
  readonly readSpec: (config: ConfigReader) => Omit<ModelSpec, 'family'>;
  readonly tensors: TensorNames;
}
