/**
 * What a family of models is to the rest: a reader of its config.json. It contains no sharding arithmetic (shard.ts), no names
 * of tensors (tensor-names.ts) and no bytes (the slicer).
 */
import type { ConfigReader } from './config/config-reader.ts';
import type { LayerSpec, ModelSpec } from './spec.ts';

export type Family = (config: ConfigReader) => Omit<ModelSpec, 'family'>;

/** Layers, and experts of all of them together; the largest models have some tens of thousands. */
const mostParts = 200_000;

/**
 * Every layer and expert becomes a list of tensors: a number from a damaged file must not fill the memory first. Errors:
 * INVALID_CHECKPOINT.
 */
export function eachLayer(config: ConfigReader, layerOf: (layer: number) => LayerSpec): readonly LayerSpec[] {
  const count = config.size('num_hidden_layers');
  const layers: LayerSpec[] = [];
  for (let parts = 0; layers.length < count; ) {
    const layer = layerOf(layers.length);
    parts += layer.mlp.kind === 'experts' ? layer.mlp.experts : 1;
    if (parts > mostParts) throw config.odd('num_hidden_layers', count, `at most ${mostParts} experts in all layers`);
    layers.push(layer);
  }
  return layers;
}
