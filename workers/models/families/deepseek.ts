/**
 * DeepSeek V2, V3 (R1, V3.1), V3.2, and those that took over its latent attention: Kimi K2, GLM-4.7-Flash, GLM-5. They differ in
 * how experts are chosen and in whether attention is sparse.
 */
import type { ConfigReader } from '../config/config-reader.ts';
import { readDense, readExperts, readGroups, sparseAfterFirst } from '../config/experts.ts';
import { latentScoreFactor, readRotary } from '../config/rotary.ts';
import { readLayerTypes, readSizes } from '../config/sizes.ts';
import { eachLayer, type Family } from '../family.ts';
import type { IndexerSpec, LatentSpec, RoutingSpec, SharedExpertSpec } from '../spec.ts';

/** Of the norms of the latents, whatever rms_norm_eps says: reference implementations build them with their default. */
const latentNormEpsilon = 1e-6;

interface Traits {
  readonly routing: (config: ConfigReader) => Partial<RoutingSpec>;
  /** The indexer of each layer. */
  readonly indexers?: (config: ConfigReader) => (layer: number) => IndexerSpec;
}

/** One MLP as wide as all shared experts together; null without any. */
export function sharedWidth(config: ConfigReader): SharedExpertSpec | null {
  const count = config.count('n_shared_experts', 0);
  return count === 0 ? null : { width: count * config.size('moe_intermediate_size'), gated: false };
}

/** Fields of grouped attention mean nothing here; some files have them all the same. */
const meaningless = ['num_key_value_heads', 'head_dim', 'qk_head_dim'];

function readLatent(config: ConfigReader): LatentSpec {
  config.ignore(meaningless);
  for (const bias of ['attention_bias', 'mlp_bias']) {
    if (config.flag(bias, false)) throw config.unsupported(bias, true, 'false');
  }
  const [plainDim, rotated] = [config.size('qk_nope_head_dim'), config.size('qk_rope_head_dim')];
  if (rotated % 2 !== 0) throw config.odd('qk_rope_head_dim', rotated, 'an even number');
  return {
    kind: 'latent',
    heads: config.size('num_attention_heads'),
    queryRank: config.has('q_lora_rank') ? config.size('q_lora_rank') : null,
    latent: config.size('kv_lora_rank'),
    plainDim,
    valueDim: config.size('v_head_dim'),
    latentNormEpsilon,
    scoreScale: (plainDim + rotated) ** -0.5 * latentScoreFactor(config),
    indexer: null,
  };
}

function latentFamily({ routing: routingOf, indexers }: Traits): Family {
  return (config) => {
    const latent = readLatent(config);
    const pairs = config.flag('rope_interleave', true) ? 'neighbours' : 'halves';
    const isSparse = sparseAfterFirst(config);
    const indexerOf = indexers?.(config) ?? (() => null);
    const experts = readExperts(config, { shared: sharedWidth(config), routing: routingOf(config) });
    return {
      ...readSizes(config),
      rotary: readRotary(config, { dims: config.size('qk_rope_head_dim'), pairs }),
      layers: eachLayer(config, (layer) => ({
        attention: { ...latent, indexer: indexerOf(layer) },
        mlp: isSparse(layer) ? experts : readDense(config),
      })),
    };
  };
}

/** Softmax; the best experts, or those of the groups with the best expert. Scaled unless normalised. */
function secondRouting(config: ConfigReader): Partial<RoutingSpec> {
  config.word('scoring_func', ['softmax'], 'softmax');
  const method = config.word('topk_method', ['greedy', 'group_limited_greedy'], 'greedy');
  const groups = readGroups(config, 'best');
  if (groups && method === 'greedy') throw config.odd('n_group', groups.count, '1, as topk_method is greedy');
  const normalise = config.flag('norm_topk_prob', false);
  const scale = config.positive('routed_scaling_factor', 1);
  return { groups, normalise, scale: normalise ? 1 : scale };
}

/** Sigmoid; chosen by corrected scores from the groups with the best two. */
function thirdRouting(config: ConfigReader): Partial<RoutingSpec> {
  config.word('scoring_func', ['sigmoid'], 'sigmoid');
  config.word('topk_method', ['noaux_tc'], 'noaux_tc');
  return {
    score: 'sigmoid',
    correction: true,
    groups: readGroups(config, 'best-two'),
    normalise: config.flag('norm_topk_prob', true),
    scale: config.positive('routed_scaling_factor', 1),
  };
}

function ownIndexer(config: ConfigReader, pairs: 'halves' | 'neighbours'): IndexerSpec {
  return {
    kind: 'own',
    heads: config.size('index_n_heads'),
    dim: config.size('index_head_dim'),
    chosen: config.size('index_topk'),
    pairs,
  };
}

/** In every layer; what is rotated is rotated in halves, unlike in attention. */
function thirdIndexers(config: ConfigReader): (layer: number) => IndexerSpec {
  const own = ownIndexer(config, config.flag('indexer_rope_interleave', false) ? 'neighbours' : 'halves');
  return () => own;
}

/** In some layers; those between take over the last choice. */
function glmIndexers(config: ConfigReader): (layer: number) => IndexerSpec {
  const own = ownIndexer(config, config.flag('indexer_rope_interleave', true) ? 'neighbours' : 'halves');
  const isFull = fullIndexers(config);
  return (layer) => (isFull(layer) ? own : { kind: 'shared' });
}

function fullIndexers(config: ConfigReader): (layer: number) => boolean {
  const types = readLayerTypes(config, 'indexer_types');
  const odd = types.find((type) => type !== 'full' && type !== 'shared');
  if (odd !== undefined) throw config.unsupported('indexer_types', odd, 'full, shared');
  if (types[0] === 'shared') throw config.odd('indexer_types', types, 'an indexer in the first layer');
  const frequency = config.size('index_topk_freq', 1);
  const offset = config.count('index_skip_topk_offset', 2);
  const pattern = config.text('index_topk_pattern');
  if (types.length > 0) return (layer) => types[layer] === 'full';
  if (pattern !== undefined) return (layer) => pattern[layer] === 'F';
  return (layer) => Math.max(layer - offset + 1, 0) % frequency === 0;
}

export const deepseekV2 = latentFamily({ routing: secondRouting });
export const deepseekV3 = latentFamily({ routing: thirdRouting });
export const deepseekV32 = latentFamily({ routing: thirdRouting, indexers: thirdIndexers });
export const glmMoeDsa = latentFamily({ routing: thirdRouting, indexers: glmIndexers });
