/**
 * The mistakes that implementations of these families have made, or nearly: each must move the logits of the goldens named beside
 * it. flip_x is the other choice for x, no_x leaves x out.
 */
import { type Mutation, ofExperts, ofGrouped, ofLatent, ofRotary, ofRouting, ofSource, ofSpec } from './mutation.ts';

const deepseek = ['deepseek_v2_lite', 'deepseek_v2', 'deepseek_v3', 'kimi_k2', 'deepseek_v32'];
const latent = [...deepseek, 'glm4_moe_lite', 'glm_moe_dsa'];
const sparseAttention = ['deepseek_v32', 'glm_moe_dsa'];
const hybrid = ['qwen3_next', 'qwen3_5_moe'];
const glm4 = ['glm4_moe', 'glm4_moe_air'];
const ernieMoe = ['ernie4_5_moe', 'ernie4_5_moe_noshared'];
const corrected = [
  'deepseek_v3',
  'kimi_k2',
  'deepseek_v32',
  ...glm4,
  'glm4_moe_lite',
  'glm_moe_dsa',
  ...ernieMoe,
  'minimax_m2',
];
const scaled = ['deepseek_v2', 'deepseek_v3', 'kimi_k2', 'deepseek_v32', 'glm4_moe', 'glm4_moe_lite', 'glm_moe_dsa'];
const grouped = ['deepseek_v3', 'deepseek_v32', 'glm4_moe_air'];
const dense = ['llama', 'qwen2', 'qwen3', 'smollm2', 'ernie4_5'];
const softmaxed = ['qwen3_moe', 'qwen2_moe', ...hybrid, 'mixtral', 'hunyuan_v1_moe'];
const shared = [...latent, 'qwen2_moe', ...hybrid, ...glm4, 'ernie4_5_moe', 'hunyuan_v1_moe'];
const partlyRotated = [...hybrid, ...glm4, 'minimax_m2'];
const routed = [...latent, ...softmaxed, ...glm4, ...ernieMoe, 'minimax_m2'];
const normedBefore = ['qwen3_moe', ...hybrid, 'glm4_moe', 'qwen3'];

const other = (pairs: 'halves' | 'neighbours') => (pairs === 'halves' ? 'neighbours' : 'halves');

const rotation: readonly Mutation[] = [
  ofRotary('half_rope', latent, () => ({ pairs: 'halves' })),
  ofRotary(
    'flip_rope_style',
    ['qwen3_moe', 'qwen2_moe', ...partlyRotated, ...ernieMoe, 'gpt_oss', 'mixtral', 'hunyuan_v1_moe', ...dense],
    ({ pairs }) => ({ pairs: other(pairs) }),
  ),
  ofRotary('no_yarn', [...deepseek, 'gpt_oss'], () => ({ scaling: { kind: 'none' } })),
  ofRotary('no_llama3', ['llama'], () => ({ scaling: { kind: 'none' } })),
  ofRotary('no_alpha', ['hunyuan_v1_moe'], () => ({ theta: 10_000 })),
  ofRotary('no_attn_factor', ['deepseek_v2', 'gpt_oss'], ({ scaling }) =>
    scaling.kind === 'yarn' ? { scaling: { ...scaling, attentionFactor: 1 } } : {},
  ),
  ofRotary(
    'flip_truncate',
    ['deepseek_v2_lite', 'deepseek_v2', 'deepseek_v3', 'deepseek_v32', 'gpt_oss'],
    ({ scaling }) => (scaling.kind === 'yarn' ? { scaling: { ...scaling, truncate: !scaling.truncate } } : {}),
  ),
  ofLatent('no_mscale', deepseek, ({ plainDim }, { rotary }) => ({ scoreScale: (plainDim + rotary.dims) ** -0.5 })),
  ofRotary('full_rotary', partlyRotated, (_, { layers }) => ({
    dims: Math.max(...layers.map(({ attention }) => (attention.kind === 'grouped' ? attention.headDim : 0))),
  })),
  ...[[hybrid, 4] as const, [[...glm4, 'minimax_m2'], 2] as const].map(([goldens, parts]) =>
    ofSource('partial_denominator_is_head_dim', goldens, 'workers/models/rotary.ts', {
      from: 'theta ** ((-2 * i) / dims)',
      to: `theta ** ((-2 * i) / (${parts} * dims))`,
    }),
  ),
];

const attention: readonly Mutation[] = [
  ofLatent('a_norm_eps_is_config', ['glm4_moe_lite', 'glm_moe_dsa'], (_, { normEpsilon }) => ({
    latentNormEpsilon: normEpsilon,
  })),
  ofGrouped('no_qk_norm', normedBefore, () => ({ norm: 'none' })),
  ofGrouped('norm_after_rope', normedBefore, () => ({ norm: 'after-rotation' })),
  ofGrouped('norm_before_rope', ['hunyuan_v1_moe'], () => ({ norm: 'before-rotation' })),
  // Heads of this golden have 16 dimensions.
  ofSource('per_head_norm', ['minimax_m2'], 'workers/slicer/pieces/norm.ts', {
    from: "const normed = graph.node('Div', [x, root]);",
    to: `const byHead = graph.node('Reshape', [x, graph.i64(x + '_by_head', [-1, 16])]);
      const ones = graph.f32(x + '_ones', new Array(16).fill(1));
      const alone = graph.node('RMSNormalization', [byHead, ones], { axis: -1, epsilon: { float: 1e-6 } });
      const normed = graph.node('Reshape', [alone, graph.i64(x + '_flat', [-1, weight.rows])]);
      void root;`,
  }),
  ofGrouped('no_bias', ['qwen2_moe', ...glm4, 'qwen2'], () => ({ inputBias: false })),
  ofSpec('no_bias', ['gpt_oss'], (spec) => ({
    ...spec,
    layers: spec.layers.map(({ attention: from, mlp }) => ({
      attention: from.kind === 'grouped' ? { ...from, inputBias: false, outputBias: false } : from,
      mlp: mlp.kind === 'experts' ? { ...mlp, bias: false, routing: { ...mlp.routing, bias: false } } : mlp,
    })),
  })),
  ofGrouped('no_sinks', ['gpt_oss'], () => ({ sinks: false })),
  ofGrouped('no_window', ['gpt_oss'], () => ({ window: null })),
  ofGrouped('window_off_by_one', ['gpt_oss'], ({ window }) => ({ window: window === null ? null : window + 1 })),
  ofLatent('no_dsa', sparseAttention, () => ({ indexer: null })),
  ofLatent('shared_is_dense', ['glm_moe_dsa'], ({ indexer }) => ({
    indexer: indexer?.kind === 'shared' ? null : indexer,
  })),
  ofLatent('flip_indexer_rope', sparseAttention, ({ indexer }) => ({
    indexer: indexer?.kind === 'own' ? { ...indexer, pairs: other(indexer.pairs) } : indexer,
  })),
  ofSource(
    'indexer_rope_last',
    sparseAttention,
    'workers/slicer/pieces/latent.ts',
    {
      from: 'rowsOf(names.query, { first: 0, count: width }, queryRank ?? hiddenSize),',
      to: `rowsOf(names.query, Array.from({ length: 2 * heads }, (_, i) => {
        const dims = plan.spec.rotary.dims;
        const start = (i >> 1) * dim;
        return i % 2 === 0 ? { first: start + dim - dims, count: dims } : { first: start, count: dim - dims };
      }), queryRank ?? hiddenSize),`,
    },
    {
      from: 'rotate(graph, plan, normedKey, { heads: 1,',
      to: `const [front, back] = graph.split(normedKey, 1, [dim - plan.spec.rotary.dims, plan.spec.rotary.dims]);
        rotate(graph, plan, graph.node('Concat', [back!, front!], { axis: 1 }), { heads: 1,`,
    },
  ),
  ofSource('no_relu', sparseAttention, 'workers/rank/attention/position-indexer.ts', {
    from: "graph.node('Relu', [product])",
    to: 'product',
  }),
];

const gatedAttention: readonly Mutation[] = [
  ofSource('no_attn_gate', hybrid, 'workers/slicer/pieces/attention-out.ts', {
    from: "rows: graph.node('Mul', [context, gate])",
    to: 'rows: context',
  }),
  ofSource('flat_q_gate', hybrid, 'workers/slicer/pieces/grouped.ts', {
    from: 'first: (2 * (heads.first + i) + part) * headDim',
    to: 'first: (part * heads.count + heads.first + i) * headDim',
  }),
  ofSpec('no_plus1', hybrid, (spec) => ({ ...spec, normsAddOne: false })),
  ofSource('flat_qkvz', ['qwen3_next'], 'workers/models/places.ts', {
    from: 'const rows =\n    kind ===',
    to: `const all = attention.keyHeads * (2 * keyDim + values);
      const rows = kind === 'z' ? [every(all, attention.keyHeads * values)] : [every(0, all)];
      const asItIs =\n    kind ===`,
  }),
  ofSource('no_conv_silu', hybrid, 'workers/slicer/pieces/delta.ts', {
    from: "{ activation: 'silu', ndim: 1 }",
    to: '{ ndim: 1 }',
  }),
  ofSource('no_l2', hybrid, 'workers/slicer/pieces/delta.ts', {
    from: "return graph.node('RMSNormalization', [byHead, scale],",
    to: "return byHead ?? graph.node('RMSNormalization', [byHead, scale],",
  }),
  ofSource('tile_k_heads', hybrid, 'workers/slicer/pieces/delta.ts', {
    from: 'Math.floor((i * keyHeads.count) / valueHeads.count)',
    to: 'i % keyHeads.count',
  }),
  ofSource('no_decay', hybrid, 'workers/rank/attention/delta-attention.ts', {
    from: 'decay[i] = -speeds[head]!',
    to: 'decay[i] = 0 * -speeds[head]!',
  }),
  ofSource('gdn_norm_plus1', hybrid, 'workers/slicer/pieces/delta.ts', { from: 'addsOne: false', to: 'addsOne: true' }),
  ofSource('gdn_gate_sigmoid', hybrid, 'workers/slicer/pieces/delta.ts', {
    from: "graph.node('QuickGelu', [rows.gate], { alpha: { float: 1 } })",
    to: "graph.node('Sigmoid', [rows.gate])",
  }),
];

const routing: readonly Mutation[] = [
  ofRouting('flip_scoring', routed, ({ score }) => ({ score: score === 'softmax' ? 'sigmoid' : 'softmax' })),
  ofRouting('flip_norm', routed, ({ normalise }) => ({ normalise: !normalise })),
  ofRouting('softmax_before_topk', ['gpt_oss'], () => ({ normalise: false })),
  ofRouting('no_scaling', scaled, () => ({ scale: 1 })),
  ofRouting('no_groups', ['deepseek_v2', ...grouped], () => ({ groups: null })),
  ofRouting('group_max', grouped, ({ groups }) => ({ groups: groups && { ...groups, by: 'best' } })),
  ofRouting('group_sum2', ['deepseek_v2'], ({ groups }) => ({ groups: groups && { ...groups, by: 'best-two' } })),
  ofRouting('no_bias_corr', corrected, () => ({ correction: false })),
  ofSource('biased_weights', corrected, 'workers/models/routing.ts', {
    from: "if (routing.score === 'sigmoid') for (let i = 0; i < chosen; i++) terms[i] = 1 / (1 + Math.exp(-logitOf(i)));",
    to: 'if (this.#correction) for (let i = 0; i < chosen; i++) terms[i] = this.#ranking[experts[to + i]!]!;',
  }),
  ofSource('mask_zero', grouped, 'workers/models/routing.ts', {
    from: 'ranking.fill(Number.NEGATIVE_INFINITY, group',
    to: 'ranking.fill(0, group',
  }),
];

const experts: readonly Mutation[] = [
  ofExperts('no_shared', shared, () => ({ shared: null })),
  ofExperts('no_shared_gate', ['qwen2_moe', ...hybrid], ({ shared: from }) => ({
    shared: from && { ...from, gated: false },
  })),
  ofSource(
    'swap_w1_w3',
    ['minimax_m2', 'mixtral'],
    'workers/models/places.ts',
    { from: 'experts.$1.w1.', to: 'experts.$1.w?.' },
    { from: 'experts.$1.w3.', to: 'experts.$1.w1.' },
    { from: 'experts.$1.w?.', to: 'experts.$1.w3.' },
  ),
  ofSource('concat_gate_up', ['gpt_oss'], 'workers/models/places.ts', {
    from: "new Set(['gpt_oss'])",
    to: 'new Set([])',
  }),
  ofExperts('no_clamp', ['gpt_oss'], ({ activation }) => ({
    activation: activation.kind === 'clamped' ? { ...activation, limit: 1e9 } : activation,
  })),
  ofExperts('plain_swiglu', ['gpt_oss'], () => ({ activation: { kind: 'silu' } })),
];

export const mutations: readonly Mutation[] = [...rotation, ...attention, ...gatedAttention, ...routing, ...experts];

/** Changes nothing, by the way that mutations take: the goldens must still agree. */
export const control: Mutation = ofSpec('nothing', [...new Set([...routed, ...dense, 'gpt_oss'])], (spec) => ({
  ...spec,
}));
