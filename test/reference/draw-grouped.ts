/** Random models of the families with grouped attention. */
import { drawPartial, drawRope, type RopeDraw } from './draw-rope.ts';
import {
  type DrawnModel,
  drawExperts,
  drawExpertWidth,
  drawFrame,
  drawWidth,
  type ExpertLayout,
  type Frame,
  finish,
  type Json,
} from './drawn-model.ts';
import type { Random } from './random.ts';

export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** What config.json says of them. */
  readonly fields: Json;
}

const headCounts = [3, 4, 5, 6, 7, 8, 9, 12];

export function drawHeads(random: Random, headDims: readonly number[] = [4, 6, 8, 10, 16]): Heads {
  const heads = random.pick(headCounts);
  const kvHeads = random.pick(headCounts.concat(1, 2).filter((count) => heads % count === 0));
  const headDim = random.pick(headDims);
  return { heads, kvHeads, headDim, fields: headFields({ heads, kvHeads, headDim }) };
}

function headFields({ heads, kvHeads, headDim }: Omit<Heads, 'fields'>): Json {
  return { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headDim };
}

/** A frame and heads that have nothing to do with its width; or, in some, heads that divide it and no head_dim. */
function drawFrameAndHeads(random: Random, mayDivide: boolean): { readonly frame: Frame; readonly heads: Heads } {
  const heads = drawHeads(random);
  if (!mayDivide || random.oneIn(2)) return { frame: drawFrame(random, [1, 4]), heads };
  const { head_dim: _, ...fields } = heads.fields;
  const frame = drawFrame(random, [1, 4], heads.heads * heads.headDim);
  return { frame, heads: { ...heads, fields } };
}

export interface AttentionTraits {
  /** Of queries, keys and values; of the output. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly gated?: boolean;
}

export function addAttention({ table, hidden }: Frame, name: string, heads: Heads, traits: AttentionTraits = {}): void {
  const { bias = false, outputBias = false, gated = false } = traits;
  const [width, kvWidth] = [heads.heads * heads.headDim, heads.kvHeads * heads.headDim];
  table.linear(`${name}.self_attn.q_proj`, gated ? 2 * width : width, hidden, bias);
  table.linear(`${name}.self_attn.k_proj`, kvWidth, hidden, bias);
  table.linear(`${name}.self_attn.v_proj`, kvWidth, hidden, bias);
  table.linear(`${name}.self_attn.o_proj`, hidden, width, outputBias);
}

function addHeadNorms({ table }: Frame, name: string, { headDim }: Heads, names = ['q_norm', 'k_norm']): void {
  for (const norm of names) table.norm(`${name}.self_attn.${norm}`, headDim);
}

/** Widths of every layer, spelled as transformers 5 does or not at all. */
function fullAttentionTypes(random: Random, layers: number): Json {
  return random.oneIn(2) ? { layer_types: Array<string>(layers).fill('full_attention') } : {};
}

const anyScaling: RopeDraw = { kinds: ['default', 'linear', 'llama3', 'yarn'], magnitudes: true };

export function drawLlama(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const width = drawWidth(random);
  const [bias, mlpBias] = [random.oneIn(2), random.oneIn(2)];
  const config = {
    model_type: 'llama',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    intermediate_size: width,
    ...(bias || random.oneIn(2) ? { attention_bias: bias } : {}),
    ...(mlpBias || random.oneIn(2) ? { mlp_bias: mlpBias } : {}),
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads, { bias, outputBias: bias });
    frame.table.swiglu(`${name}.mlp`, frame.hidden, width, mlpBias);
  });
}

export function drawQwen2(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const width = drawWidth(random);
  const window = random.pick([{}, { use_sliding_window: false, sliding_window: 4, max_window_layers: 1 }]);
  const config = {
    model_type: 'qwen2',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    ...window,
    ...fullAttentionTypes(random, frame.layers),
    intermediate_size: width,
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads, { bias: true });
    frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
  });
}

export function drawQwen3(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, false);
  const width = drawWidth(random);
  const bias = random.oneIn(3);
  const config = {
    model_type: 'qwen3',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    ...fullAttentionTypes(random, frame.layers),
    attention_bias: bias,
    intermediate_size: width,
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads, { bias, outputBias: bias });
    addHeadNorms(frame, name, heads);
    frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
  });
}

/** Fields that say which layers have experts, and the answer for each. */
export function drawSparseSteps(random: Random, layers: number): { readonly fields: Json; readonly sparse: boolean[] } {
  const step = random.pick([1, 1, 2]);
  const dense = Array.from({ length: layers }, (_, layer) => layer).filter(() => random.oneIn(4));
  const sparse = Array.from({ length: layers }, (_, layer) => !dense.includes(layer) && (layer + 1) % step === 0);
  return { fields: { decoder_sparse_step: step, mlp_only_layers: dense }, sparse };
}

export function drawQwen3Moe(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, false);
  const [width, expertWidth] = [drawWidth(random), drawExpertWidth(random)];
  const { count, chosen } = drawExperts(random);
  const { fields, sparse } = drawSparseSteps(random, frame.layers);
  const bias = random.oneIn(3);
  const layout = random.pick<ExpertLayout>(['named', 'stacked']);
  const config = {
    model_type: 'qwen3_moe',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    ...fields,
    attention_bias: bias,
    intermediate_size: width,
    moe_intermediate_size: expertWidth,
    [random.pick(['num_experts', 'num_local_experts'])]: count,
    num_experts_per_tok: chosen,
    norm_topk_prob: random.oneIn(2),
  };
  return finish(frame, config, 'model', (name, layer) => {
    addAttention(frame, name, heads, { bias, outputBias: bias });
    addHeadNorms(frame, name, heads);
    if (!sparse[layer]) return frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
    frame.table.linear(`${name}.mlp.gate`, count, frame.hidden);
    frame.table.experts(`${name}.mlp.experts`, { count, hidden: frame.hidden, width: expertWidth, layout });
  });
}

export function drawQwen2Moe(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const [width, expertWidth, sharedWidth] = [drawWidth(random), drawExpertWidth(random), drawWidth(random)];
  const { count, chosen } = drawExperts(random);
  const { fields, sparse } = drawSparseSteps(random, frame.layers);
  const bias = !random.oneIn(3);
  const layout = random.pick<ExpertLayout>(['named', 'stacked']);
  const config = {
    model_type: 'qwen2_moe',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    ...fields,
    ...(bias && random.oneIn(2) ? {} : { qkv_bias: bias }),
    intermediate_size: width,
    moe_intermediate_size: expertWidth,
    shared_expert_intermediate_size: sharedWidth,
    num_experts: count,
    num_experts_per_tok: chosen,
    norm_topk_prob: random.oneIn(3),
  };
  return finish(frame, config, 'model', (name, layer) => {
    addAttention(frame, name, heads, { bias });
    if (!sparse[layer]) return frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
    frame.table.linear(`${name}.mlp.gate`, count, frame.hidden);
    frame.table.experts(`${name}.mlp.experts`, { count, hidden: frame.hidden, width: expertWidth, layout });
    frame.table.swiglu(`${name}.mlp.shared_expert`, frame.hidden, sharedWidth);
    frame.table.add(`${name}.mlp.shared_expert_gate.weight`, 1, frame.hidden);
  });
}

export function drawErnie(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const width = drawWidth(random);
  const config = {
    model_type: 'ernie4_5',
    ...heads.fields,
    ...drawRope(random, { kinds: ['default', 'linear', 'yarn'] }),
    use_bias: false,
    intermediate_size: width,
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads);
    frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
  });
}

export function drawErnieMoe(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const [width, expertWidth] = [drawWidth(random), drawExpertWidth(random)];
  const { count, chosen } = drawExperts(random);
  const last = frame.layers - 1;
  const start = random.int(0, last);
  const end = random.pick([-1, random.int(start, last)]);
  const interval = random.pick([1, 1, 2]);
  const shared = random.int(0, 3);
  const layout = random.pick<ExpertLayout>(['named', 'stacked']);
  const config = {
    model_type: 'ernie4_5_moe',
    ...heads.fields,
    ...drawRope(random, { kinds: ['default', 'default', 'yarn'] }),
    use_bias: false,
    intermediate_size: width,
    moe_intermediate_size: expertWidth,
    moe_num_experts: count,
    moe_k: chosen,
    moe_num_shared_experts: shared,
    moe_layer_start_index: start,
    moe_layer_end_index: end,
    moe_layer_interval: interval,
    moe_norm_min: 1e-12,
    moe_use_aux_free: true,
  };
  return finish(frame, config, 'model', (name, layer) => {
    addAttention(frame, name, heads);
    const sparse = layer >= start && layer <= (end === -1 ? last : end) && (layer + 1) % interval === 0;
    if (!sparse) return frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
    frame.table.addFloat(`${name}.mlp.gate.weight`, count, frame.hidden);
    frame.table.addFloat(`${name}.mlp.moe_statics.e_score_correction_bias`, 1, count);
    frame.table.experts(`${name}.mlp.experts`, { count, hidden: frame.hidden, width: expertWidth, layout });
    if (shared > 0) frame.table.swiglu(`${name}.mlp.shared_experts`, frame.hidden, shared * expertWidth);
  });
}

export function drawMixtral(random: Random): DrawnModel {
  const { frame, heads } = drawFrameAndHeads(random, true);
  const width = drawExpertWidth(random);
  const { count, chosen } = drawExperts(random);
  const layout = random.pick<ExpertLayout>(['numbered', 'stacked']);
  const config = {
    model_type: 'mixtral',
    ...heads.fields,
    ...drawRope(random, anyScaling),
    intermediate_size: width,
    num_local_experts: count,
    num_experts_per_tok: chosen,
    sliding_window: random.pick([null, 1, 5, 16, 21]),
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads);
    const moe = layout === 'stacked' ? `${name}.mlp` : `${name}.block_sparse_moe`;
    frame.table.linear(`${moe}.gate`, count, frame.hidden);
    frame.table.experts(`${moe}.experts`, { count, hidden: frame.hidden, width, layout });
  });
}

export function drawMinimax(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 3]);
  const heads = drawHeads(random, [8, 12, 16]);
  const width = drawExpertWidth(random);
  const { count, chosen } = drawExperts(random);
  const [normed, biased] = [!random.oneIn(4), !random.oneIn(4)];
  const layout = random.pick<ExpertLayout>(['numbered', 'stacked']);
  const config = {
    model_type: 'minimax_m2',
    ...heads.fields,
    ...minimaxRope(random, heads.headDim),
    intermediate_size: width,
    num_local_experts: count,
    num_experts_per_tok: chosen,
    scoring_func: 'sigmoid',
    use_routing_bias: biased,
    use_qk_norm: normed,
    qk_norm_type: 'per_layer',
    num_mtp_modules: 3,
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads);
    if (normed) {
      frame.table.norm(`${name}.self_attn.q_norm`, heads.heads * heads.headDim);
      frame.table.norm(`${name}.self_attn.k_norm`, heads.kvHeads * heads.headDim);
    }
    const moe = layout === 'stacked' ? `${name}.mlp` : `${name}.block_sparse_moe`;
    frame.table.addFloat(`${moe}.gate.weight`, count, frame.hidden);
    if (biased) frame.table.addFloat(`${moe}.e_score_correction_bias`, count);
    frame.table.experts(`${moe}.experts`, { count, hidden: frame.hidden, width, layout });
  });
}

/** rotary_dim, the share, or both. */
function minimaxRope(random: Random, headDim: number): Json {
  const share = drawPartial(random, headDim);
  const named = random.pick(['share', 'width', 'both']);
  const rope = drawRope(random, { kinds: ['default', 'yarn'], ...(named === 'width' ? {} : { partial: share }) });
  return named === 'share' ? rope : { ...rope, rotary_dim: headDim * share };
}

export function drawGptOss(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 4]);
  const heads = drawHeads(random);
  const { count, chosen } = drawExperts(random);
  const width = drawExpertWidth(random);
  const bias = !random.oneIn(4);
  const { hidden, table } = frame;
  const config = {
    model_type: 'gpt_oss',
    ...heads.fields,
    ...drawRope(random, { kinds: ['default', 'yarn', 'yarn'] }),
    attention_bias: bias,
    intermediate_size: width,
    num_local_experts: count,
    [random.pick(['num_experts_per_tok', 'experts_per_token'])]: chosen,
    sliding_window: random.pick([1, 4, 8, 16, 19]),
    layer_types: random.list(frame.layers, ['sliding_attention', 'full_attention']),
    swiglu_limit: random.pick([7, 1.5]),
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads, { bias, outputBias: bias });
    table.add(`${name}.self_attn.sinks`, heads.heads);
    table.linear(`${name}.mlp.router`, count, hidden, true);
    table.add(`${name}.mlp.experts.gate_up_proj`, count, hidden, 2 * width);
    table.add(`${name}.mlp.experts.gate_up_proj_bias`, count, 2 * width);
    table.add(`${name}.mlp.experts.down_proj`, count, width, hidden);
    table.add(`${name}.mlp.experts.down_proj_bias`, count, hidden);
  });
}

export function drawHunyuan(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 3]);
  const heads = drawHeads(random, [6, 8, 16]);
  const width = drawExpertWidth(random);
  const { count, chosen } = drawExperts(random);
  const [mixed, normed, bias] = [!random.oneIn(4), !random.oneIn(4), random.oneIn(4)];
  const shared = random.int(1, 3);
  const perLayer = (value: number): unknown => (random.oneIn(2) ? value : Array<number>(frame.layers).fill(value));
  const layout = random.pick<ExpertLayout>(['named', 'stacked']);
  const config = {
    model_type: 'hunyuan_v1_moe',
    ...heads.fields,
    ...drawRope(random, { kinds: ['default', 'dynamic', 'dynamic'] }),
    attention_bias: bias,
    intermediate_size: width,
    moe_intermediate_size: perLayer(width),
    num_experts: count,
    moe_topk: perLayer(chosen),
    num_shared_expert: perLayer(shared),
    use_mixed_mlp_moe: mixed,
    use_qk_norm: normed,
  };
  return finish(frame, config, 'model', (name) => {
    addAttention(frame, name, heads, { bias, outputBias: bias });
    if (normed) addHeadNorms(frame, name, heads, ['query_layernorm', 'key_layernorm']);
    frame.table.addFloat(`${name}.mlp.gate.wg.weight`, count, frame.hidden);
    frame.table.experts(`${name}.mlp.experts`, { count, hidden: frame.hidden, width, layout });
    if (mixed) frame.table.swiglu(`${name}.mlp.shared_mlp`, frame.hidden, shared * width);
  });
}

export function drawGlm4Moe(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 4]);
  const heads = drawHeads(random, [8, 12, 16]);
  const [bias, normed] = [random.oneIn(2), random.oneIn(2)];
  const experts = drawBiasedExperts(random, frame);
  const config = {
    model_type: 'glm4_moe',
    ...heads.fields,
    ...drawRope(random, {
      kinds: ['default', 'default', 'yarn', 'linear'],
      partial: drawPartial(random, heads.headDim),
    }),
    ...experts.fields,
    attention_bias: bias,
    use_qk_norm: normed,
  };
  return finish(frame, config, 'model', (name, layer) => {
    addAttention(frame, name, heads, { bias });
    if (normed) addHeadNorms(frame, name, heads);
    experts.add(name, layer);
  });
}

export interface LayerExperts {
  readonly fields: Json;
  add(name: string, layer: number): void;
}

/** Groups of two experts or more, of which some are kept; or none. */
export function drawGroups(random: Random): { readonly count: number; readonly chosen: number; readonly fields: Json } {
  if (random.oneIn(2)) return { ...drawExperts(random), fields: { n_group: 1, topk_group: 1 } };
  const [groups, size] = [random.int(2, 4), random.int(2, 4)];
  const kept = random.int(1, groups);
  const chosen = random.int(1, kept * size);
  return { count: groups * size, chosen, fields: { n_group: groups, topk_group: kept } };
}

/** What DeepSeek-V3 and GLM have in common: dense layers first, biased sigmoids, groups, shared experts. */
export function drawBiasedExperts(random: Random, frame: Frame, withBias = true): LayerExperts {
  const { table, hidden, layers } = frame;
  const [width, expertWidth] = [drawWidth(random), drawExpertWidth(random)];
  const { count, chosen, fields } = drawGroups(random);
  const dense = random.int(0, Math.min(2, layers));
  const shared = random.int(0, 3);
  const layout = random.pick<ExpertLayout>(['named', 'stacked']);
  const types = Array.from({ length: layers }, (_, layer) => (layer < dense ? 'dense' : 'sparse'));
  const first = random.pick<Json>([
    { first_k_dense_replace: dense },
    { mlp_layer_types: types },
    { first_k_dense_replace: dense, mlp_layer_types: types },
  ]);
  return {
    fields: {
      ...fields,
      ...first,
      intermediate_size: width,
      moe_intermediate_size: expertWidth,
      n_routed_experts: count,
      num_experts_per_tok: chosen,
      n_shared_experts: shared === 0 ? random.pick([0, null]) : shared,
      routed_scaling_factor: random.pick([1, 2.5, 1.8]),
      norm_topk_prob: !random.oneIn(4),
    },
    add(name, layer) {
      if (layer < dense) return table.swiglu(`${name}.mlp`, hidden, width);
      table.linear(`${name}.mlp.gate`, count, hidden);
      if (withBias) table.addFloat(`${name}.mlp.gate.e_score_correction_bias`, count);
      table.experts(`${name}.mlp.experts`, { count, hidden, width: expertWidth, layout });
      if (shared > 0) table.swiglu(`${name}.mlp.shared_experts`, hidden, shared * expertWidth);
    },
  };
}
