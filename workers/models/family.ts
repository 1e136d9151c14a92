/**
 * What a family of models is to the rest: a reader of its config.json. It contains no sharding arithmetic (shard.ts), no names
 * of tensors (tensor-names.ts) and no bytes (the slicer).
 */
import type { ConfigReader } from './config-reader.ts';
import type { ModelSpec } from './spec.ts';

export type Family = (config: ConfigReader) => Omit<ModelSpec, 'family'>;
