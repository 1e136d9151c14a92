/** Random models of the families with latent attention. */
import { drawBiasedExperts } from './draw-grouped.ts';
import { drawRope } from './draw-rope.ts';
import { type DrawnModel, drawFrame, type Frame, finish, type Json } from './drawn-model.ts';
import type { Random } from './random.ts';

interface Latent {
  readonly queryRank: number | null;
  readonly ropeDim: number;
  readonly fields: Json;
  add(name: string): void;
}

function drawLatent(random: Random, { table, hidden }: Frame, needsQueryRank = false): Latent {
  const heads = random.pick([2, 3, 4, 5, 6, 7, 9, 12]);
  const queryRank = needsQueryRank || random.oneIn(2) ? random.pick([14, 20, 33]) : null;
  const latentRank = random.pick([10, 16, 27]);
  const [nopeDim, ropeDim, valueDim] = [random.pick([6, 9, 12]), random.pick([2, 4, 6, 8]), random.pick([5, 8, 14])];
  const fields = {
    num_attention_heads: heads,
    num_key_value_heads: heads,
    q_lora_rank: queryRank,
    kv_lora_rank: latentRank,
    qk_nope_head_dim: nopeDim,
    qk_rope_head_dim: ropeDim,
    v_head_dim: valueDim,
    ...random.pick<Json>([{}, { qk_head_dim: nopeDim + ropeDim, head_dim: ropeDim }, { head_dim: 192 }]),
    attention_bias: false,
  };
  return {
    queryRank,
    ropeDim,
    fields,
    add(name) {
      const attention = `${name}.self_attn`;
      const width = heads * (nopeDim + ropeDim);
      if (queryRank === null) table.linear(`${attention}.q_proj`, width, hidden);
      else {
        table.linear(`${attention}.q_a_proj`, queryRank, hidden);
        table.norm(`${attention}.q_a_layernorm`, queryRank);
        table.linear(`${attention}.q_b_proj`, width, queryRank);
      }
      table.linear(`${attention}.kv_a_proj_with_mqa`, latentRank + ropeDim, hidden);
      table.norm(`${attention}.kv_a_layernorm`, latentRank);
      table.linear(`${attention}.kv_b_proj`, heads * (nopeDim + valueDim), latentRank);
      table.linear(`${attention}.o_proj`, hidden, heads * valueDim);
    },
  };
}

const ropes = { kinds: ['default', 'yarn', 'yarn'], magnitudes: true } as const;

/** Softmax scores: the best of all, or of the groups with the best expert. */
export function drawDeepseekV2(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 3]);
  const latent = drawLatent(random, frame);
  const experts = drawBiasedExperts(random, frame, false);
  const grouped = experts.fields.n_group !== 1;
  const config = {
    model_type: 'deepseek_v2',
    ...latent.fields,
    ...drawRope(random, ropes),
    ...experts.fields,
    scoring_func: 'softmax',
    topk_method: grouped ? 'group_limited_greedy' : 'greedy',
    routed_scaling_factor: random.pick([1, 4]),
    norm_topk_prob: random.oneIn(4),
  };
  return finish(frame, config, 'model', (name, layer) => {
    latent.add(name);
    experts.add(name, layer);
  });
}

/** DeepSeek-V3 and what spells itself like it. */
function drawThird(random: Random, modelType: string): DrawnModel {
  const frame = drawFrame(random, [1, 3]);
  const latent = drawLatent(random, frame);
  const experts = drawBiasedExperts(random, frame);
  const config = {
    model_type: modelType,
    ...latent.fields,
    ...drawRope(random, ropes),
    ...experts.fields,
    ...random.pick<Json>([{}, { rope_interleave: true }, { rope_interleave: false }]),
    ...random.pick<Json>([{}, { scoring_func: 'sigmoid', topk_method: 'noaux_tc', moe_layer_freq: 1 }]),
    num_nextn_predict_layers: random.int(0, 1),
  };
  return finish(frame, config, 'model', (name, layer) => {
    latent.add(name);
    experts.add(name, layer);
  });
}

export const drawDeepseekV3 = (random: Random): DrawnModel => drawThird(random, 'deepseek_v3');
export const drawKimi = (random: Random): DrawnModel => drawThird(random, 'kimi_k2');
export const drawGlmLite = (random: Random): DrawnModel => drawThird(random, 'glm4_moe_lite');

/** An indexer that keeps few keys; its head is at least as wide as what it rotates. */
function drawIndexer(random: Random, { table, hidden }: Frame, { queryRank, ropeDim }: Latent) {
  const [heads, dim] = [random.int(2, 5), ropeDim + random.pick([0, 3, 8])];
  return {
    fields: { index_n_heads: heads, index_head_dim: dim, index_topk: random.pick([1, 3, 8, 17]) },
    add(name: string): void {
      const indexer = `${name}.self_attn.indexer`;
      table.linear(`${indexer}.wq_b`, heads * dim, queryRank!);
      table.linear(`${indexer}.wk`, dim, hidden);
      table.norm(`${indexer}.k_norm`, dim);
      table.add(`${indexer}.k_norm.bias`, dim);
      table.linear(`${indexer}.weights_proj`, heads, hidden);
    },
  };
}

export function drawDeepseekV32(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 3]);
  const latent = drawLatent(random, frame, true);
  const indexer = drawIndexer(random, frame, latent);
  const experts = drawBiasedExperts(random, frame);
  const config = {
    model_type: 'deepseek_v32',
    ...latent.fields,
    ...drawRope(random, ropes),
    ...experts.fields,
    ...indexer.fields,
  };
  return finish(frame, config, 'model', (name, layer) => {
    latent.add(name);
    indexer.add(name);
    experts.add(name, layer);
  });
}

/** Fields that say which layers have an indexer, and the answer for each; the first always has one. */
function drawIndexerLayers(random: Random, layers: number): { readonly fields: Json; readonly full: boolean[] } {
  const frequency = random.int(1, 3);
  const offset = random.int(1, 3);
  const byFrequency = Array.from({ length: layers }, (_, layer) => Math.max(layer - offset + 1, 0) % frequency === 0);
  const drawn = byFrequency.map((_, layer) => layer === 0 || random.oneIn(2));
  const types = drawn.map((full) => (full ? 'full' : 'shared'));
  return random.pick([
    { fields: {}, full: byFrequency.map(() => true) },
    { fields: { index_topk_freq: frequency, index_skip_topk_offset: offset }, full: byFrequency },
    { fields: { indexer_types: types }, full: drawn },
    { fields: { index_topk_pattern: drawn.map((full) => (full ? 'F' : 'S')).join('') }, full: drawn },
  ]);
}

export function drawGlmDsa(random: Random): DrawnModel {
  const frame = drawFrame(random, [1, 5]);
  const latent = drawLatent(random, frame, true);
  const indexer = drawIndexer(random, frame, latent);
  const experts = drawBiasedExperts(random, frame);
  const { fields, full } = drawIndexerLayers(random, frame.layers);
  const config = {
    model_type: 'glm_moe_dsa',
    ...latent.fields,
    ...drawRope(random, { kinds: ['default'] }),
    ...experts.fields,
    ...indexer.fields,
    ...fields,
    ...random.pick<Json>([{}, { indexer_rope_interleave: true }, { indexer_rope_interleave: false }]),
    rope_interleave: true,
  };
  return finish(frame, config, 'model', (name, layer) => {
    latent.add(name);
    if (full[layer]) indexer.add(name);
    experts.add(name, layer);
  });
}
