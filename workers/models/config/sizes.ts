/** What the configs of all families have in common. */
import type { ModelSpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';

/** Sizes, and the activation that all of them have; `epsilon` is the family's default. */
export function readSizes(
  config: ConfigReader,
  epsilon = 1e-6,
): Pick<
  ModelSpec,
  'vocabularySize' | 'hiddenSize' | 'contextLength' | 'normEpsilon' | 'normsAddOne' | 'tiedEmbeddings'
> {
  config.word('hidden_act', ['silu'], 'silu');
  return {
    vocabularySize: config.size('vocab_size'),
    hiddenSize: config.size('hidden_size'),
    contextLength: config.size('max_position_embeddings'),
    normEpsilon: config.positive('rms_norm_eps', epsilon),
    normsAddOne: false,
    tiedEmbeddings: config.flag('tie_word_embeddings', false),
  };
}

/** For families that attend to the whole context in every layer. */
export function refuseWindows(config: ConfigReader): void {
  if (config.flag('use_sliding_window', false) && config.has('sliding_window')) {
    throw config.unsupported('use_sliding_window', true, 'false (attention over the whole context)');
  }
  config.ignore(['sliding_window', 'max_window_layers']);
  const odd = readLayerTypes(config).find((type) => type !== 'full_attention');
  if (odd) throw config.unsupported('layer_types', odd, 'full_attention');
}

/** Empty when the config has none. Errors: INVALID_CHECKPOINT unless there is one for every layer. */
export function readLayerTypes(config: ConfigReader, name = 'layer_types'): readonly string[] {
  const types = config.list(name, 'strings', (type): type is string => typeof type === 'string');
  const layers = config.size('num_hidden_layers');
  if (types.length > 0 && types.length !== layers) throw config.odd(name, types, `one for each of ${layers} layers`);
  return types;
}

/** Numbers of layers that the config lists. */
export function readLayerSet(config: ConfigReader, name: string): ReadonlySet<number> {
  const count = config.size('num_hidden_layers');
  const isLayer = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < count;
  return new Set(config.list(name, `layers from 0 to ${count - 1}`, isLayer));
}
