/** What the configs of all families have in common. */
import type { ModelSpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';

/** Sizes, and the activation that all of them have. `tied` is what the family's files mean that do not say. */
export function readSizes(
  config: ConfigReader,
  tied = false,
): Pick<
  ModelSpec,
  'vocabularySize' | 'hiddenSize' | 'contextLength' | 'normEpsilon' | 'normsAddOne' | 'tiedEmbeddings'
> {
  config.only('hidden_act', 'silu');
  return {
    vocabularySize: config.size('vocab_size'),
    hiddenSize: config.size('hidden_size'),
    contextLength: config.size('max_position_embeddings'),
    normEpsilon: config.positive('rms_norm_eps'),
    normsAddOne: false,
    tiedEmbeddings: config.flag('tie_word_embeddings', tied),
  };
}

/** For families that attend to the whole context in every layer. */
export function refuseWindows(config: ConfigReader): void {
  if (config.flag('use_sliding_window', false) && config.has('sliding_window')) {
    throw config.unsupported('use_sliding_window', true, 'false (attention over the whole context)');
  }
  config.ignore(['sliding_window', 'max_window_layers']);
  readLayerTypes(config, 'layer_types', ['full_attention']);
}

/** One of `known` for every layer; undefined when the config has no such list. */
export function readLayerTypes<Type extends string>(
  config: ConfigReader,
  name: string,
  known: readonly Type[],
): readonly Type[] | undefined {
  if (!config.has(name)) return undefined;
  const types = config.list(name, 'strings', (type): type is string => typeof type === 'string');
  const layers = config.size('num_hidden_layers');
  if (types.length !== layers) throw config.odd(name, types, `one for each of ${layers} layers`);
  const isKnown = (type: string): type is Type => known.some((one) => one === type);
  const unknown = types.find((type) => !isKnown(type));
  if (unknown !== undefined) throw config.unsupported(name, unknown, known.join(', '));
  return types.filter(isKnown);
}

/** Numbers of layers that the config lists. */
export function readLayerSet(config: ConfigReader, name: string): ReadonlySet<number> {
  const count = config.size('num_hidden_layers');
  const isLayer = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) >= 0 && Number(value) < count;
  return new Set(config.list(name, `layers from 0 to ${count - 1}`, isLayer));
}

/** True for a layer that is of a kind: which one says the caller. */
export type LayerRule = (layer: number) => boolean;

/**
 * Which layers are `type`: `list` names it for each, or the other fields of `rule` do. Errors: INVALID_CHECKPOINT when there is
 * neither, or they disagree.
 */
export function agreedLayers<Type extends string>(
  config: ConfigReader,
  list: { readonly name: string; readonly known: readonly Type[]; readonly type: Type },
  rule: { readonly fields: readonly string[]; readonly isOf: LayerRule | undefined },
): LayerRule {
  const types = readLayerTypes(config, list.name, list.known);
  const { isOf } = rule;
  const isListed: LayerRule = (layer) => types?.[layer] === list.type;
  if (!types && !isOf) throw config.missing([...rule.fields, list.name]);
  if (!types || !isOf) return isOf ?? isListed;
  const odd = types.findIndex((_, layer) => isListed(layer) !== isOf(layer));
  if (odd === -1) return isOf;
  throw config.odd(list.name, types, `another type in layer ${odd}, as ${rule.fields.join(' and ')} say`);
}
