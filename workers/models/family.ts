/**
 * What a family of models is to the rest: a reader of its config.json. It contains no sharding arithmetic (shard.ts), no names
 * of tensors (tensor-names.ts) and no bytes (the slicer).
 */
import type { ConfigReader } from './config/config-reader.ts';
import type { LayerSpec, ModelSpec } from './spec.ts';

export type Family = (config: ConfigReader) => Omit<ModelSpec, 'family'>;

export function eachLayer(config: ConfigReader, layerOf: (layer: number) => LayerSpec): readonly LayerSpec[] {
  return Array.from({ length: config.size('num_hidden_layers') }, (_, layer) => layerOf(layer));
}
