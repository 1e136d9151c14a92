/** Layers with experts: their number, how they are chosen, and which layers have them. */
import type { DenseSpec, ExpertsSpec, GroupsSpec, RoutingSpec } from '../spec.ts';
import type { ConfigReader } from './config-reader.ts';
import { readLayerSet, readLayerTypes } from './sizes.ts';

const plainRouting: RoutingSpec = {
  score: 'softmax',
  bias: false,
  correction: false,
  groups: null,
  normalise: true,
  scale: 1,
};

/** What a family has beside plain experts; sizes where its config spells them in a way of its own. */
export interface ExpertTraits
  extends Partial<Pick<ExpertsSpec, 'bias' | 'activation' | 'shared' | 'width' | 'chosen'>> {
  readonly routing?: Partial<RoutingSpec>;
}

const countNames = ['n_routed_experts', 'num_experts', 'num_local_experts', 'moe_num_experts'];
const chosenNames = ['num_experts_per_tok', 'experts_per_token', 'moe_k'];

export function readExperts(config: ConfigReader, traits: ExpertTraits = {}): ExpertsSpec {
  const { routing, ...others } = traits;
  const experts = config.size(countNames);
  const spec: ExpertsSpec = {
    kind: 'experts',
    experts,
    chosen: others.chosen ?? config.size(chosenNames),
    width: others.width ?? config.size('moe_intermediate_size'),
    bias: false,
    activation: { kind: 'silu' },
    shared: null,
    ...others,
    routing: { ...plainRouting, ...routing },
  };
  for (const name of countNames) {
    if (config.has(name) && config.size(name) !== experts) throw config.odd(name, config.size(name), `${experts}`);
  }
  if (spec.chosen > experts) throw config.odd(chosenNames[0]!, spec.chosen, `at most the ${experts} experts`);
  refuseGroups(config, spec);
  return spec;
}

function refuseGroups(config: ConfigReader, { experts, chosen, routing: { groups } }: ExpertsSpec): void {
  if (!groups) return;
  if (experts % groups.count !== 0) throw config.odd('n_group', groups.count, `a divisor of ${experts} experts`);
  if (groups.chosen > groups.count) throw config.odd('topk_group', groups.chosen, `at most ${groups.count} groups`);
  const reachable = (experts / groups.count) * groups.chosen;
  if (chosen > reachable) throw config.odd('num_experts_per_tok', chosen, `at most ${reachable}, those of the groups`);
}

/** n_group and topk_group; one group is none. */
export function readGroups(config: ConfigReader, by: GroupsSpec['by']): GroupsSpec | null {
  const [count, chosen] = [config.size('n_group', 1), config.size('topk_group', 1)];
  return count > 1 ? { count, chosen, by } : null;
}

export function readDense(config: ConfigReader): DenseSpec {
  return { kind: 'dense', width: config.size('intermediate_size'), bias: false };
}

/** True for a layer that has experts. */
export type IsSparse = (layer: number) => boolean;

/** DeepSeek, GLM: the first layers are dense, by their number or one by one. */
export function sparseAfterFirst(config: ConfigReader): IsSparse {
  if (config.size('moe_layer_freq', 1) !== 1)
    throw config.unsupported('moe_layer_freq', config.size('moe_layer_freq'), '1');
  const types = readLayerTypes(config, 'mlp_layer_types');
  const odd = types.find((type) => type !== 'dense' && type !== 'sparse');
  if (odd !== undefined) throw config.unsupported('mlp_layer_types', odd, 'dense, sparse');
  const isTypeSparse: IsSparse = (layer) => types[layer] === 'sparse';
  if (!config.has('first_k_dense_replace')) {
    if (types.length === 0) throw config.missing('first_k_dense_replace');
    return isTypeSparse;
  }
  const dense = config.count('first_k_dense_replace');
  const isSparse: IsSparse = (layer) => layer >= dense;
  const differs = types.some((_, layer) => isTypeSparse(layer) !== isSparse(layer));
  if (differs) throw config.odd('mlp_layer_types', types, `${dense} dense layers first, as first_k_dense_replace says`);
  return isSparse;
}

/** Qwen: every so many layers, but for those that are listed. */
export function sparseByStep(config: ConfigReader): IsSparse {
  const dense = readLayerSet(config, 'mlp_only_layers');
  const step = config.size('decoder_sparse_step', 1);
  return (layer) => !dense.has(layer) && (layer + 1) % step === 0;
}
