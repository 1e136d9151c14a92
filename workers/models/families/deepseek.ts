/**
 * DeepSeek V2, V3 (R1, V3.1), V3.2, and those that took over its latent attention: Kimi K2, GLM-4.7-Flash, GLM-5. They differ in
 * how experts are chosen and in whether attention is sparse.
 */
import type { ConfigReader } from '../config/config-reader.ts';
import { readChosen, readDense, readExperts, readGroups, sparseAfterFirst } from '../config/experts.ts';
import { latentScoreFactor, readRotary } from '../config/rotary.ts';
import { agreedLayers, type LayerRule, readSizes } from '../config/sizes.ts';
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

/** Fields of grouped attention mean nothing here; files have them all the same, some with numbers of no use. */
const meaningless = ['num_key_value_heads', 'head_dim'];

function readLatent(config: ConfigReader): LatentSpec {
  config.ignore(meaningless);
  config.only('attention_bias', false);
  config.only('mlp_bias', false);
  config.only('moe_router_dtype', 'float32');
  const [plainDim, rotated] = [config.size('qk_nope_head_dim'), config.size('qk_rope_head_dim')];
  if (rotated % 2 !== 0) throw config.odd('qk_rope_head_dim', rotated, 'an even number');
  const width = config.size('qk_head_dim', plainDim + rotated);
  if (width !== plainDim + rotated) throw config.odd('qk_head_dim', width, `${plainDim} + ${rotated}, its two parts`);
  return {
    kind: 'latent',
    heads: config.size('num_attention_heads'),
    queryRank: config.sizeOrNull('q_lora_rank'),
    latent: config.size('kv_lora_rank'),
    plainDim,
    valueDim: config.size('v_head_dim'),
    latentNormEpsilon,
    scoreScale: width ** -0.5 * latentScoreFactor(config, rotated),
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
      rotary: readRotary(config, { width: config.size('qk_rope_head_dim'), pairs }),
      layers: eachLayer(config, (layer) => ({
        attention: { ...latent, indexer: indexerOf(layer) },
        mlp: isSparse(layer) ? experts : readDense(config),
      })),
    };
  };
}

/** Softmax; the best experts, or those of the groups with the best expert. Scaled unless normalised; one alone is not normalised. */
function secondRouting(config: ConfigReader): Partial<RoutingSpec> {
  config.only('scoring_func', 'softmax');
  const groups = secondGroups(config);
  const normalise = config.flag('norm_topk_prob') && readChosen(config) > 1;
  const scale = config.positive('routed_scaling_factor');
  return { groups, normalise, scale: normalise ? 1 : scale };
}

function secondGroups(config: ConfigReader): RoutingSpec['groups'] {
  if (config.word('topk_method', ['greedy', 'group_limited_greedy']) === 'group_limited_greedy') {
    return readGroups(config, 'best');
  }
  const count = config.size('n_group', 1);
  if (count !== 1) throw config.odd('n_group', count, '1, as topk_method is greedy');
  config.ignore(['topk_group']);
  return null;
}

/** Sigmoid; chosen by corrected scores from the groups with the best two. */
export function thirdRouting(config: ConfigReader): Partial<RoutingSpec> {
  config.only('scoring_func', 'sigmoid');
  config.only('topk_method', 'noaux_tc');
  return {
    score: 'sigmoid',
    correction: true,
    groups: readGroups(config, 'best-two'),
    normalise: config.flag('norm_topk_prob'),
    scale: config.positive('routed_scaling_factor'),
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
  config.ignore(['index_share_for_mtp_iteration']); // Of layers for predicting several tokens, which are skipped.
  const isFull = fullIndexers(config);
  if (!isFull(0)) throw config.odd('indexer_types', 'shared', 'an indexer in the first layer');
  return (layer) => (isFull(layer) ? own : { kind: 'shared' });
}

/** A list says it of each layer, or a pattern of F and S, or every so many do after the first; without any all do. */
function fullIndexers(config: ConfigReader): LayerRule {
  const patterns = ['index_topk_pattern'];
  const steps = ['index_topk_freq', 'index_skip_topk_offset'];
  const list = { name: 'indexer_types', known: ['full', 'shared'], type: 'full' } as const;
  const isSaid = [list.name, ...patterns, ...steps].some((name) => config.has(name));
  if (!isSaid) return () => true;
  const byStep = steps.some((name) => config.has(name)) ? byFrequency(config) : undefined;
  const pattern = config.text('index_topk_pattern');
  if (pattern === undefined) return agreedLayers(config, list, { fields: steps, isOf: byStep });
  return agreedLayers(config, list, { fields: patterns, isOf: byPattern(config, pattern) });
}

function byFrequency(config: ConfigReader): LayerRule {
  const frequency = config.size('index_topk_freq', 1);
  const offset = config.count('index_skip_topk_offset', 2);
  return (layer) => Math.max(layer - offset + 1, 0) % frequency === 0;
}

/** Overrides a frequency beside it. */
function byPattern(config: ConfigReader, pattern: string): LayerRule {
  const layers = config.size('num_hidden_layers');
  if (!/^[FS]+$/.test(pattern) || pattern.length !== layers) {
    throw config.odd('index_topk_pattern', pattern, `F or S for each of ${layers} layers`);
  }
  return (layer) => pattern[layer] === 'F';
}

export const deepseekV2 = latentFamily({ routing: secondRouting });
export const deepseekV3 = latentFamily({ routing: thirdRouting });
export const deepseekV32 = latentFamily({ routing: thirdRouting, indexers: thirdIndexers });
export const glmMoeDsa = latentFamily({ routing: thirdRouting, indexers: glmIndexers });
