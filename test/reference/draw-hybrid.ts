/** Random models of Qwen3-Next and Qwen3.5. */
import { addAttention, drawHeads, drawSparseSteps, type Heads } from './draw-grouped.ts';
import { drawPartial, drawRope } from './draw-rope.ts';
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

interface DeltaNet {
  readonly fields: Json;
  /** Qwen3-Next groups projections by key head. */
  addGrouped(name: string): void;
  /** Qwen3.5 has one matrix for each, and some values in float32. */
  addFlat(name: string): void;
}

function drawDeltaNet(random: Random, { table, hidden }: Frame): DeltaNet {
  const keyHeads = random.pick([1, 2, 3, 4, 6]);
  const valueHeads = keyHeads * random.int(1, 4);
  const [keyDim, valueDim, kernel] = [random.pick([4, 6, 10]), random.pick([5, 8, 12]), random.int(2, 4)];
  const [keys, values] = [keyHeads * keyDim, valueHeads * valueDim];
  const addRest = (name: string, add: (name: string, ...shape: number[]) => void): void => {
    table.add(`${name}.conv1d.weight`, 2 * keys + values, 1, kernel);
    add(`${name}.A_log`, valueHeads);
    table.add(`${name}.dt_bias`, valueHeads);
    add(`${name}.norm.weight`, valueDim);
    table.linear(`${name}.out_proj`, hidden, values);
  };
  return {
    fields: {
      linear_num_key_heads: keyHeads,
      linear_num_value_heads: valueHeads,
      linear_key_head_dim: keyDim,
      linear_value_head_dim: valueDim,
      linear_conv_kernel_dim: kernel,
    },
    addGrouped(name) {
      table.linear(`${name}.in_proj_qkvz`, 2 * keys + 2 * values, hidden);
      table.linear(`${name}.in_proj_ba`, 2 * valueHeads, hidden);
      addRest(name, (tensor, ...shape) => table.add(tensor, ...shape));
    },
    addFlat(name) {
      table.linear(`${name}.in_proj_qkv`, 2 * keys + values, hidden);
      table.linear(`${name}.in_proj_z`, values, hidden);
      table.linear(`${name}.in_proj_b`, valueHeads, hidden);
      table.linear(`${name}.in_proj_a`, valueHeads, hidden);
      addRest(name, (tensor, ...shape) => table.addFloat(tensor, ...shape));
    },
  };
}

/** Fields that say which layers attend, and the answer for each. */
function drawLayerTypes(random: Random, layers: number): { readonly fields: Json; readonly full: boolean[] } {
  const interval = random.int(1, 4);
  const regular = Array.from({ length: layers }, (_, layer) => (layer + 1) % interval === 0);
  const drawn = regular.map(() => random.oneIn(3));
  const types = (full: readonly boolean[]): string[] => full.map((f) => (f ? 'full_attention' : 'linear_attention'));
  return random.pick([
    { fields: { full_attention_interval: interval }, full: regular },
    { fields: { full_attention_interval: interval, layer_types: types(regular) }, full: regular },
    { fields: { layer_types: types(drawn) }, full: drawn },
  ]);
}

interface Hybrid {
  readonly frame: Frame;
  readonly heads: Heads;
  readonly delta: DeltaNet;
  readonly full: readonly boolean[];
  readonly count: number;
  readonly expertWidth: number;
  readonly sharedWidth: number;
  readonly layout: ExpertLayout;
  readonly fields: Json;
}

function drawHybrid(random: Random, layouts: readonly ExpertLayout[]): Hybrid {
  const frame = drawFrame(random, [1, 5]);
  const heads = drawHeads(random, [8, 16, 24]);
  const delta = drawDeltaNet(random, frame);
  const { fields, full } = drawLayerTypes(random, frame.layers);
  const [expertWidth, sharedWidth] = [drawExpertWidth(random), drawWidth(random)];
  const { count, chosen } = drawExperts(random);
  const config = {
    ...heads.fields,
    ...drawRope(random, { kinds: ['default', 'default', 'yarn'], partial: drawPartial(random, heads.headDim) }),
    ...delta.fields,
    ...fields,
    attention_bias: false,
    moe_intermediate_size: expertWidth,
    shared_expert_intermediate_size: sharedWidth,
    num_experts: count,
    num_experts_per_tok: chosen,
  };
  return { frame, heads, delta, full, count, expertWidth, sharedWidth, layout: random.pick(layouts), fields: config };
}

function addMixer({ frame, heads, delta, full }: Hybrid, name: string, layer: number, grouped: boolean): void {
  if (full[layer]) {
    addAttention(frame, name, heads, { gated: true });
    for (const norm of ['q_norm', 'k_norm']) frame.table.norm(`${name}.self_attn.${norm}`, heads.headDim);
  } else if (grouped) delta.addGrouped(`${name}.linear_attn`);
  else delta.addFlat(`${name}.linear_attn`);
}

function addExperts({ frame, count, expertWidth, sharedWidth, layout }: Hybrid, name: string): void {
  const { table, hidden } = frame;
  table.linear(`${name}.mlp.gate`, count, hidden);
  table.experts(`${name}.mlp.experts`, { count, hidden, width: expertWidth, layout });
  table.swiglu(`${name}.mlp.shared_expert`, hidden, sharedWidth);
  table.add(`${name}.mlp.shared_expert_gate.weight`, 1, hidden);
}

export function drawQwen3Next(random: Random): DrawnModel {
  const hybrid = drawHybrid(random, ['named', 'stacked']);
  const { frame } = hybrid;
  const width = drawWidth(random);
  const steps = drawSparseSteps(random, frame.layers);
  const config = {
    model_type: 'qwen3_next',
    ...hybrid.fields,
    ...steps.fields,
    intermediate_size: width,
    norm_topk_prob: random.oneIn(2),
  };
  return finish(frame, config, 'model', (name, layer) => {
    addMixer(hybrid, name, layer, true);
    if (steps.sparse[layer]) addExperts(hybrid, name);
    else frame.table.swiglu(`${name}.mlp`, frame.hidden, width);
  });
}

/** As a text model, or inside a model for images with the names that has. */
export function drawQwen35(random: Random): DrawnModel {
  const hybrid = drawHybrid(random, ['named', 'stacked']);
  const nested = random.oneIn(2);
  const config = { model_type: 'qwen3_5_moe_text', ...hybrid.fields, attn_output_gate: true };
  const text = finish(hybrid.frame, config, nested ? 'model.language_model' : 'model', (name, layer) => {
    addMixer(hybrid, name, layer, false);
    addExperts(hybrid, name);
  });
  if (!nested) return text;
  const outer = {
    model_type: 'qwen3_5_moe',
    text_config: text.config,
    vision_config: { depth: 1 },
    tie_word_embeddings: hybrid.frame.tied,
  };
  return { config: outer, tensors: text.tensors };
}
