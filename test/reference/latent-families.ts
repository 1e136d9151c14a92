/** The families with latent attention: DeepSeek, Kimi, GLM-4.7-Flash, GLM-5. */
import type { ConfigFields } from './config-fields.ts';
import { DenseNetwork, Experts, type FeedForward, swigluExperts } from './feed-forward.ts';
import { biasedExperts, isSparse, sharedExperts } from './grouped-families.ts';
import { Indexer, LatentAttention } from './latent-attention.ts';
import type { BuildLayer } from './layer.ts';
import { latentScoreFactor, Rotary, type RotaryStyle, ropeFields } from './rotary.ts';
import type { Weights } from './weights.ts';

function latentAttention(config: ConfigFields, weights: Weights, layer: number, indexer?: Indexer): LatentAttention {
  const nopeDim = config.number('qk_nope_head_dim');
  const ropeDim = config.number('qk_rope_head_dim');
  const fields = ropeFields(config);
  const style = config.flag('rope_interleave', true) ? 'interleaved' : 'half-split';
  return new LatentAttention(weights.at('self_attn'), {
    layer,
    heads: config.number('num_attention_heads'),
    latentRank: config.number('kv_lora_rank'),
    nopeDim,
    ropeDim,
    valueDim: config.number('v_head_dim'),
    scale: (nopeDim + ropeDim) ** -0.5 * latentScoreFactor(fields),
    rotary: new Rotary(fields, ropeDim, style),
    indexer,
  });
}

function feedForward(
  config: ConfigFields,
  weights: Weights,
  layer: number,
  experts: typeof biasedExperts,
): FeedForward {
  return isSparse(config, layer) ? experts(config, weights, layer) : new DenseNetwork(weights.at('mlp'));
}

/** Softmax, no bias; scaled when not normalised. */
function softmaxExperts(config: ConfigFields, weights: Weights, layer: number): Experts {
  const mlp = weights.at('mlp');
  const groups = {
    count: config.number('n_group', 1),
    kept: config.number('topk_group', 1),
    judgedBy: 'best',
  } as const;
  const chosen = config.number('num_experts_per_tok');
  const normalised = config.flag('norm_topk_prob', false) && chosen > 1;
  return new Experts({
    layer,
    router: (x) => mlp.linear('gate', x),
    bias: undefined,
    routing: {
      scores: 'softmax',
      chosen,
      ...(config.text('topk_method') === 'group_limited_greedy' ? { groups } : {}),
      ...(normalised ? { divisor: (sum: number) => sum + 1e-20 } : {}),
      scaling: normalised ? 1 : config.number('routed_scaling_factor', 1),
    },
    expert: swigluExperts(mlp.at('experts')),
    shared: sharedExperts(config, mlp),
  });
}

export const deepseekV2: BuildLayer = (config, weights, layer) => ({
  attention: latentAttention(config, weights, layer),
  feedForward: feedForward(config, weights, layer, softmaxExperts),
});

export const deepseekV3: BuildLayer = (config, weights, layer) => ({
  attention: latentAttention(config, weights, layer),
  feedForward: feedForward(config, weights, layer, biasedExperts),
});

function indexerOf(config: ConfigFields, weights: Weights, layer: number, style: RotaryStyle): Indexer {
  return new Indexer(weights.at('self_attn.indexer'), {
    layer,
    heads: config.number('index_n_heads'),
    headDim: config.number('index_head_dim'),
    kept: config.number('index_topk'),
    rotary: new Rotary(ropeFields(config), config.number('qk_rope_head_dim'), style),
  });
}

export const deepseekV32: BuildLayer = (config, weights, layer) => ({
  attention: latentAttention(config, weights, layer, indexerOf(config, weights, layer, 'half-split')),
  feedForward: feedForward(config, weights, layer, biasedExperts),
});

/** Whether a layer selects keys itself: by a list, a pattern of F and S, or every so many-th after the first few. */
function hasIndexer(config: ConfigFields, layer: number): boolean {
  const type = config.list('indexer_types')?.[layer];
  if (type) return type === 'full';
  if (config.has('index_topk_pattern')) return config.text('index_topk_pattern')[layer] === 'F';
  const offset = config.number('index_skip_topk_offset', 2);
  return Math.max(layer - offset + 1, 0) % config.number('index_topk_freq', 1) === 0;
}

/** Layers without an indexer use the selection of the last layer that has one. */
export const glmDsa: BuildLayer = (config, weights, layer, earlier = []) => {
  const style = config.flag('indexer_rope_interleave', true) ? 'interleaved' : 'half-split';
  const before = earlier.map(({ attention }) => (attention as LatentAttention).indexer).at(-1);
  const indexer = hasIndexer(config, layer) ? indexerOf(config, weights, layer, style) : before;
  return {
    attention: latentAttention(config, weights, layer, indexer),
    feedForward: feedForward(config, weights, layer, biasedExperts),
  };
};
