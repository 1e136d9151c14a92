/** The families whose heads keep keys and values of their own (or share them in groups). */
import type { ConfigFields } from './config-fields.ts';
import { clampedExperts, DenseNetwork, Experts, gatedShared, swiglu, swigluExperts } from './feed-forward.ts';
import { GatedDeltaNet } from './gated-delta-net.ts';
import { GroupedAttention, type GroupedSettings, type QueryKeyNorm } from './grouped-attention.ts';
import type { BuildLayer } from './layer.ts';
import { Rotary, type RotaryStyle, ropeFields, rotaryWidth } from './rotary.ts';
import type { RoutingSettings } from './routing.ts';
import type { Vector } from './vectors.ts';
import type { Weights } from './weights.ts';

/** What the attention of every such family has, before the norms, windows and gates of some. */
function groupedSettings(config: ConfigFields, style: RotaryStyle = 'half-split'): GroupedSettings {
  const heads = config.number('num_attention_heads');
  const kvHeads = config.number('num_key_value_heads', heads);
  const headDim = config.number(['head_dim', 'attention_head_dim'], config.number('hidden_size') / heads);
  const rotary = new Rotary(ropeFields(config), rotaryWidth(config, headDim), style);
  return { heads, kvHeads, headDim, rotary, gated: false };
}

function norms(weights: Weights, config: ConfigFields, names = { query: 'q_norm', key: 'k_norm' }): QueryKeyNorm {
  return (which, x) => weights.rmsNorm(names[which], x, config.number('rms_norm_eps'));
}

function dense(weights: Weights): DenseNetwork {
  return new DenseNetwork(weights.at('mlp'));
}

/** Softmax over all experts; the chosen ones' scores are made to add up to one, or left alone. */
function softmaxRouting(config: ConfigFields, normalised: boolean): RoutingSettings {
  const chosen = config.number('num_experts_per_tok');
  return { scores: 'softmax', chosen, ...(normalised ? { divisor: (sum: number) => sum } : {}), scaling: 1 };
}

export const llama: BuildLayer = (config, weights) => ({
  attention: new GroupedAttention(weights.at('self_attn'), groupedSettings(config)),
  feedForward: dense(weights),
});

/** From `max_window_layers` on, layers see a window only; layer_types says it layer by layer. */
function qwenWindow(config: ConfigFields, layer: number): { readonly window?: number } {
  if (!config.flag('use_sliding_window', false) || !config.has('sliding_window')) return {};
  const type = config.list('layer_types')?.[layer];
  const slides = type ? type === 'sliding_attention' : layer >= config.number('max_window_layers', 28);
  return slides ? { window: config.number('sliding_window') } : {};
}

export const qwen2: BuildLayer = (config, weights, layer) => ({
  attention: new GroupedAttention(weights.at('self_attn'), {
    ...groupedSettings(config),
    ...qwenWindow(config, layer),
  }),
  feedForward: dense(weights),
});

function qwen3Attention(config: ConfigFields, weights: Weights, layer: number): GroupedAttention {
  const norm = norms(weights.at('self_attn'), config);
  const settings = {
    ...groupedSettings(config),
    ...qwenWindow(config, layer),
    normBefore: { over: 'head', norm } as const,
  };
  return new GroupedAttention(weights.at('self_attn'), settings);
}

export const qwen3: BuildLayer = (config, weights, layer) => ({
  attention: qwen3Attention(config, weights, layer),
  feedForward: dense(weights),
});

/** Layers with experts by decoder_sparse_step and mlp_only_layers. */
function isQwenSparse(config: ConfigFields, layer: number): boolean {
  if (config.list('mlp_only_layers')?.includes(layer)) return false;
  return (layer + 1) % config.number('decoder_sparse_step', 1) === 0;
}

export const qwen3Moe: BuildLayer = (config, weights, layer) => {
  const mlp = weights.at('mlp');
  const routing = softmaxRouting(config, config.flag('norm_topk_prob', false));
  const experts = new Experts({
    layer,
    router: (x) => mlp.linear('gate', x),
    bias: undefined,
    routing,
    expert: swigluExperts(mlp.at('experts')),
    shared: undefined,
  });
  return {
    attention: qwen3Attention(config, weights, layer),
    feedForward: isQwenSparse(config, layer) ? experts : dense(weights),
  };
};

function gatedExperts(config: ConfigFields, weights: Weights, layer: number, normalised: boolean): Experts {
  return new Experts({
    layer,
    router: (x) => weights.linear('gate', x),
    bias: undefined,
    routing: softmaxRouting(config, normalised),
    expert: swigluExperts(weights.at('experts')),
    shared: gatedShared(weights),
  });
}

export const qwen2Moe: BuildLayer = (config, weights, layer) => ({
  attention: new GroupedAttention(weights.at('self_attn'), {
    ...groupedSettings(config),
    ...qwenWindow(config, layer),
  }),
  feedForward: isQwenSparse(config, layer)
    ? gatedExperts(config, weights.at('mlp'), layer, config.flag('norm_topk_prob', false))
    : dense(weights),
});

/** Qwen3-Next and Qwen3.5: mostly gated delta nets, every few layers a gated attention. */
function hybridAttention(config: ConfigFields, weights: Weights, layer: number): GroupedAttention | GatedDeltaNet {
  const interval = config.number('full_attention_interval', 4);
  const type = config.list('layer_types')?.[layer];
  const epsilon = config.number('rms_norm_eps');
  if (type ? type === 'full_attention' : (layer + 1) % interval === 0) {
    const attention = weights.at('self_attn');
    const norm: QueryKeyNorm = (which, x) =>
      attention.rmsNormPlusOne(which === 'query' ? 'q_norm' : 'k_norm', x, epsilon);
    return new GroupedAttention(attention, {
      ...groupedSettings(config),
      gated: true,
      normBefore: { over: 'head', norm },
    });
  }
  return new GatedDeltaNet(weights.at('linear_attn'), {
    keyHeads: config.number('linear_num_key_heads'),
    valueHeads: config.number('linear_num_value_heads'),
    keyDim: config.number('linear_key_head_dim'),
    valueDim: config.number('linear_value_head_dim'),
    kernel: config.number('linear_conv_kernel_dim'),
    epsilon,
  });
}

export const qwen3Next: BuildLayer = (config, weights, layer) => ({
  attention: hybridAttention(config, weights, layer),
  feedForward: isQwenSparse(config, layer)
    ? gatedExperts(config, weights.at('mlp'), layer, config.flag('norm_topk_prob', true))
    : dense(weights),
});

export const qwen35Moe: BuildLayer = (config, weights, layer) => ({
  attention: hybridAttention(config, weights, layer),
  feedForward: gatedExperts(config, weights.at('mlp'), layer, true),
});

export const ernieDense: BuildLayer = (config, weights) => ({
  attention: new GroupedAttention(weights.at('self_attn'), groupedSettings(config, 'interleaved')),
  feedForward: dense(weights),
});

export const ernieMoe: BuildLayer = (config, weights, layer) => {
  const start = config.number('moe_layer_start_index', 0);
  const end = config.number('moe_layer_end_index', -1);
  const last = end === -1 ? config.number('num_hidden_layers') - 1 : end;
  const sparse = layer >= start && layer <= last && (layer + 1) % config.number('moe_layer_interval', 1) === 0;
  const { attention } = ernieDense(config, weights, layer);
  if (!sparse) return { attention, feedForward: dense(weights) };
  const mlp = weights.at('mlp');
  const least = config.number('moe_norm_min', 1e-12);
  const experts = new Experts({
    layer,
    router: (x) => mlp.linear('gate', x),
    bias: mlp.vector('moe_statics.e_score_correction_bias'),
    routing: {
      scores: 'softmax',
      chosen: config.number('moe_k'),
      divisor: (sum) => Math.max(sum, least),
      scaling: 1,
    },
    expert: swigluExperts(mlp.at('experts')),
    shared: config.number('moe_num_shared_experts', 0) > 0 ? (x) => swiglu(mlp.at('shared_experts'), x) : undefined,
  });
  return { attention, feedForward: experts };
};

export const minimax: BuildLayer = (config, weights, layer) => {
  const attention = weights.at('self_attn');
  const name = weights.has('block_sparse_moe.gate.weight') ? 'block_sparse_moe' : 'mlp';
  const moe = weights.at(name);
  const settings: GroupedSettings = {
    ...groupedSettings(config),
    ...(config.flag('use_qk_norm', true) ? { normBefore: { over: 'whole', norm: norms(attention, config) } } : {}),
  };
  const experts = new Experts({
    layer,
    router: (x) => moe.linear('gate', x),
    bias: moe.has('e_score_correction_bias') ? moe.vector('e_score_correction_bias') : undefined,
    routing: {
      scores: 'sigmoid',
      chosen: config.number('num_experts_per_tok'),
      divisor: (sum) => sum,
      scaling: 1,
    },
    expert: swigluExperts(moe.at('experts')),
    shared: undefined,
  });
  return { attention: new GroupedAttention(attention, settings), feedForward: experts };
};

export const gptOss: BuildLayer = (config, weights, layer) => {
  const type = config.list('layer_types')?.[layer] ?? (layer % 2 === 0 ? 'sliding_attention' : 'full_attention');
  const window = type === 'sliding_attention' ? { window: config.number('sliding_window') } : {};
  const mlp = weights.at('mlp');
  const experts = new Experts({
    layer,
    router: (x) => mlp.linear('router', x),
    bias: undefined,
    routing: {
      scores: 'softmax-of-chosen',
      chosen: config.number(['num_experts_per_tok', 'experts_per_token']),
      scaling: 1,
    },
    expert: clampedExperts(mlp.at('experts'), config.number('swiglu_limit', 7)),
    shared: undefined,
  });
  const settings = { ...groupedSettings(config), ...window };
  return { attention: new GroupedAttention(weights.at('self_attn'), settings), feedForward: experts };
};

export const mixtral: BuildLayer = (config, weights, layer) => {
  const window = config.has('sliding_window') ? { window: config.number('sliding_window') } : {};
  const moe = weights.at(weights.has('block_sparse_moe.gate.weight') ? 'block_sparse_moe' : 'mlp');
  const experts = new Experts({
    layer,
    router: (x) => moe.linear('gate', x),
    bias: undefined,
    routing: softmaxRouting(config, true),
    expert: swigluExperts(moe.at('experts')),
    shared: undefined,
  });
  const settings = { ...groupedSettings(config), ...window };
  return { attention: new GroupedAttention(weights.at('self_attn'), settings), feedForward: experts };
};

export const hunyuan: BuildLayer = (config, weights, layer) => {
  const attention = weights.at('self_attn');
  const names = { query: 'query_layernorm', key: 'key_layernorm' };
  const settings: GroupedSettings = {
    ...groupedSettings(config),
    ...(config.flag('use_qk_norm', false) ? { normAfter: norms(attention, config, names) } : {}),
  };
  const mlp = weights.at('mlp');
  const shared = (x: Vector): Vector => swiglu(mlp.at('shared_mlp'), x);
  const experts = new Experts({
    layer,
    router: (x) => mlp.linear('gate.wg', x),
    bias: undefined,
    routing: {
      scores: 'softmax',
      chosen: config.numberOfLayer('moe_topk', layer),
      divisor: (sum) => sum,
      scaling: 1,
    },
    expert: swigluExperts(mlp.at('experts')),
    shared: config.flag('use_mixed_mlp_moe', false) ? shared : undefined,
  });
  return { attention: new GroupedAttention(attention, settings), feedForward: experts };
};

export const glm4Moe: BuildLayer = (config, weights, layer) => {
  const attention = weights.at('self_attn');
  const settings: GroupedSettings = {
    ...groupedSettings(config),
    ...(config.flag('use_qk_norm', false) ? { normBefore: { over: 'head', norm: norms(attention, config) } } : {}),
  };
  return {
    attention: new GroupedAttention(attention, settings),
    feedForward: isSparse(config, layer) ? biasedExperts(config, weights, layer) : dense(weights),
  };
};

/** By a type for each layer, else the first few layers are dense and after them every so many-th has experts. */
export function isSparse(config: ConfigFields, layer: number): boolean {
  const type = config.list('mlp_layer_types')?.[layer];
  if (type) return type === 'sparse';
  return layer >= config.number('first_k_dense_replace', 0) && layer % config.number('moe_layer_freq', 1) === 0;
}

/** Sigmoid scores, a bias for choosing, groups: DeepSeek-V3 and what follows it. */
export function biasedExperts(config: ConfigFields, weights: Weights, layer: number): Experts {
  const mlp = weights.at('mlp');
  const groupCount = config.number('n_group', 1);
  const groups = { count: groupCount, kept: config.number('topk_group', 1), judgedBy: 'best two' } as const;
  const normalised = config.flag('norm_topk_prob', true);
  return new Experts({
    layer,
    router: (x) => mlp.linear('gate', x),
    bias: mlp.vector('gate.e_score_correction_bias'),
    routing: {
      scores: 'sigmoid',
      chosen: config.number('num_experts_per_tok'),
      ...(groupCount > 1 ? { groups } : {}),
      ...(normalised ? { divisor: (sum: number) => sum + 1e-20 } : {}),
      scaling: config.number('routed_scaling_factor', 1),
    },
    expert: swigluExperts(mlp.at('experts')),
    shared: sharedExperts(config, mlp),
  });
}

/** n_shared_experts of them, stored as one wide network. */
export function sharedExperts(config: ConfigFields, mlp: Weights): ((x: Vector) => Vector) | undefined {
  return config.number('n_shared_experts', 0) > 0 ? (x) => swiglu(mlp.at('shared_experts'), x) : undefined;
}
