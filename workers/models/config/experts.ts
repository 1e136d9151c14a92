/** Layers with experts: their number, how they are chosen, and which layers have them. */
import type { DenseSpec, ExpertsSpec, GroupsSpec, RoutingSpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';
import { agreedLayers, type LayerRule, readLayerSet } from './sizes.ts';

const plainRouting: RoutingSpec = {
  score: 'softmax',
  bias: false,
  correction: false,
  groups: null,
  normalise: true,
  scale: 1,
};

/** What a family has beside plain experts; the width where its config spells it in a way of its own. */
export interface ExpertTraits extends Partial<Pick<ExpertsSpec, 'bias' | 'activation' | 'shared' | 'width'>> {
  readonly routing?: Partial<RoutingSpec>;
}

const countNames = ['n_routed_experts', 'num_experts', 'num_local_experts', 'moe_num_experts'];
const chosenNames = ['num_experts_per_tok', 'experts_per_token', 'moe_k', 'moe_topk'];

/** How many experts a token has. */
export function readChosen(config: ConfigReader): number {
  return config.commonSize(chosenNames);
}

export function readExperts(config: ConfigReader, traits: ExpertTraits = {}): ExpertsSpec {
  const { routing, ...others } = traits;
  const spec: ExpertsSpec = {
    kind: 'experts',
    experts: config.commonSize(countNames),
    chosen: readChosen(config),
    width: others.width ?? config.size('moe_intermediate_size'),
    bias: false,
    activation: { kind: 'silu' },
    shared: null,
    ...others,
    routing: { ...plainRouting, ...routing },
  };
  if (spec.chosen > spec.experts) throw config.odd(chosenNames[0]!, spec.chosen, `at most the ${spec.experts} experts`);
  refuseGroups(config, spec);
  return spec;
}

function refuseGroups(config: ConfigReader, { experts, chosen, routing: { groups } }: ExpertsSpec): void {
  if (!groups) return;
  if (experts % groups.count !== 0) throw config.odd('n_group', groups.count, `a divisor of ${experts} experts`);
  if (groups.chosen > groups.count) throw config.odd('topk_group', groups.chosen, `at most ${groups.count} groups`);
  const size = experts / groups.count;
  if (groups.by === 'best-two' && size < 2) throw config.odd('n_group', groups.count, 'groups of two experts or more');
  const reachable = size * groups.chosen;
  if (chosen > reachable) throw config.odd('num_experts_per_tok', chosen, `at most ${reachable}, those of the groups`);
}

/** n_group and topk_group; one group is none. */
export function readGroups(config: ConfigReader, by: GroupsSpec['by']): GroupsSpec | null {
  const [count, chosen] = [config.size('n_group'), config.size('topk_group')];
  return count > 1 ? { count, chosen, by } : null;
}

export function readDense(config: ConfigReader): DenseSpec {
  return { kind: 'dense', width: config.size('intermediate_size'), bias: false };
}

/** Which layers have experts: mlp_layer_types says it of each, or these fields do; undefined, if they are not there. */
export function sparseLayers(
  config: ConfigReader,
  fields: readonly string[],
  isSparse: LayerRule | undefined,
): LayerRule {
  config.ignore(['intermediate_size']); // Of dense layers, which not every such model has.
  const list = { name: 'mlp_layer_types', known: ['dense', 'sparse'], type: 'sparse' } as const;
  return agreedLayers(config, list, { fields, isOf: isSparse });
}

/** DeepSeek, GLM: the first layers are dense. */
export function sparseAfterFirst(config: ConfigReader): LayerRule {
  const field = 'first_k_dense_replace';
  config.only('moe_layer_freq', 1);
  const dense = config.has(field) ? config.count(field) : undefined;
  return sparseLayers(config, [field], dense === undefined ? undefined : (layer) => layer >= dense);
}

/** Qwen: every so many layers, but for those that are listed. Without either field every layer has experts. */
export function sparseByStep(config: ConfigReader): LayerRule {
  const fields = ['decoder_sparse_step', 'mlp_only_layers'];
  const isSaid = fields.some((name) => config.has(name)) || !config.has('mlp_layer_types');
  const dense = readLayerSet(config, 'mlp_only_layers');
  const step = config.size('decoder_sparse_step', 1);
  return sparseLayers(config, fields, isSaid ? (layer) => !dense.has(layer) && (layer + 1) % step === 0 : undefined);
}
