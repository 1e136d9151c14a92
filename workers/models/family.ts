/**
 * What a family of models is to the rest: a reader of its config.json. It contains no sharding arithmetic (shard.ts), no names
 * of tensors (tensor-names.ts) and no bytes (the slicer).
 */
import { TriremeError } from '#platform/errors.ts';
import type { ConfigReader } from './config/config-reader.ts';
import type { LayerSpec, ModelSpec } from './spec.ts';

export type Family = (config: ConfigReader) => Omit<ModelSpec, 'family'>;

/** Experts of all layers together, a dense MLP being one; the largest models have some tens of thousands. */
const mostExperts = 200_000;

/**
 * Every layer and expert becomes a list of tensors: a number from a damaged file must not fill the memory first. Errors:
 * INVALID_CHECKPOINT.
 */
export function eachLayer(config: ConfigReader, layerOf: (layer: number) => LayerSpec): readonly LayerSpec[] {
  const count = config.size('num_hidden_layers');
  const layers: LayerSpec[] = [];
  for (let total = 0; layers.length < count; ) {
    const layer = layerOf(layers.length);
    const experts = layer.mlp.kind === 'experts' ? layer.mlp.experts : 1;
    total += experts;
    if (total > mostExperts) throw tooMany(config.file, count, experts);
    layers.push(layer);
  }
  return layers;
}

function tooMany(file: string, layers: number, experts: number): TriremeError {
  return new TriremeError(
    'INVALID_CHECKPOINT',
    `${file} asks for ${layers} layers of ${experts} experts; at most ${mostExperts} experts in all are read`,
    { remedy: `Fetch ${file} again` },
  );
}
