/**
 * Where a GGUF file holds a tensor of the model: llama.cpp's names (gguf-py/gguf/tensor_mapping.py), all experts of a layer in one
 * tensor, and what its converters change of the values' order.
 */
import type { TensorShape } from './expected-tensors.ts';
import type { Strided, TensorPlace } from './places.ts';
import type { GroupedSpec, ModelSpec } from './spec.ts';

/** Below a layer, without .weight and .bias. */
const names: Readonly<Record<string, readonly string[]>> = {
  input_layernorm: ['attn_norm'],
  post_attention_layernorm: ['ffn_norm', 'post_attention_norm'],
  'self_attn.q_proj': ['attn_q'],
  'self_attn.k_proj': ['attn_k'],
  'self_attn.v_proj': ['attn_v'],
  'self_attn.o_proj': ['attn_output'],
  'self_attn.q_norm': ['attn_q_norm'],
  'self_attn.k_norm': ['attn_k_norm'],
  'self_attn.q_a_proj': ['attn_q_a'],
  'self_attn.q_a_layernorm': ['attn_q_a_norm'],
  'self_attn.q_b_proj': ['attn_q_b'],
  'self_attn.kv_a_proj_with_mqa': ['attn_kv_a_mqa'],
  'self_attn.kv_a_layernorm': ['attn_kv_a_norm'],
  'self_attn.kv_b_proj': ['attn_kv_b'],
  'mlp.gate_proj': ['ffn_gate'],
  'mlp.up_proj': ['ffn_up'],
  'mlp.down_proj': ['ffn_down'],
  'mlp.gate': ['ffn_gate_inp'],
  'mlp.shared_experts.gate_proj': ['ffn_gate_shexp'],
  'mlp.shared_experts.up_proj': ['ffn_up_shexp'],
  'mlp.shared_experts.down_proj': ['ffn_down_shexp'],
  'mlp.shared_expert_gate': ['ffn_gate_inp_shexp'],
};

/** Those that are named otherwise as a whole. */
const wholeNames: Readonly<Record<string, string>> = {
  'model.embed_tokens.weight': 'token_embd.weight',
  'model.norm.weight': 'output_norm.weight',
  'lm_head.weight': 'output.weight',
};
const layerNames: Readonly<Record<string, string>> = {
  'self_attn.sinks': 'attn_sinks.weight',
  'mlp.gate.e_score_correction_bias': 'exp_probs_b.bias',
};

/** Their files rotate neighbouring dimensions, to which rows of queries and keys have been moved. */
const permutedFamilies: ReadonlySet<string> = new Set(['llama', 'mixtral']);

export function ggufPlacesOf(tensor: TensorShape, spec: ModelSpec): readonly TensorPlace[] {
  const { name } = tensor;
  const whole = wholeNames[name];
  if (whole !== undefined) return inEitherForm({ tensor: whole, shape: tensor.shape });
  const [, layer = '', rest = ''] = /^model[.]layers[.](\d+)[.](.+)$/.exec(name) ?? [];
  const expert = /^mlp[.]experts[.](\d+)[.](gate|up|down)_proj[.](weight|bias)$/.exec(rest);
  const places = expert
    ? expertPlaces(tensor, spec, { layer, expert: Number(expert[1]), matrix: expert[2]!, kind: expert[3]! })
    : layerPlaces(tensor, spec, layer, rest);
  return places.flatMap(inEitherForm);
}

function layerPlaces(tensor: TensorShape, spec: ModelSpec, layer: string, rest: string): readonly TensorPlace[] {
  const { shape } = tensor;
  const whole = layerNames[rest];
  if (whole !== undefined) return [{ tensor: `blk.${layer}.${whole}`, shape }];
  const [, module = '', kind = ''] = /^(.+)[.](weight|bias)$/.exec(rest) ?? [];
  const rows = permutedRows(spec, Number(layer), module);
  return (names[module] ?? []).map((stored) => ({
    tensor: `blk.${layer}.${stored}.${kind}`,
    shape,
    ...(rows ? { rows } : {}),
  }));
}

/** Of each head the first half lies at even places, the second at odd ones. */
function permutedRows(spec: ModelSpec, layer: number, module: string): readonly Strided[] | undefined {
  if (!permutedFamilies.has(spec.family) || !/^self_attn[.][qk]_proj$/.test(module)) return undefined;
  const attention = spec.layers[layer]?.attention as GroupedSpec;
  const heads = module === 'self_attn.q_proj' ? attention.heads : attention.kvHeads;
  const half = attention.headDim / 2;
  return Array.from({ length: 2 * heads }, (_, i) => {
    const head = Math.floor(i / 2);
    return { first: head * attention.headDim + (i % 2), count: half, step: 2 };
  });
}

interface ExpertTensor {
  readonly layer: string;
  readonly expert: number;
  readonly matrix: string;
  readonly kind: string;
}

/** All experts in one tensor, gate and up in one besides, or, in old files, each alone. */
function expertPlaces({ shape }: TensorShape, spec: ModelSpec, tensor: ExpertTensor): readonly TensorPlace[] {
  const { layer, expert, matrix, kind } = tensor;
  const mlp = spec.layers[Number(layer)]?.mlp;
  if (mlp?.kind !== 'experts') return [];
  const { experts } = mlp;
  const prefix = `blk.${layer}.ffn`;
  const [out = 1, inner = 1] = shape;
  if (kind === 'bias') {
    const row = { first: expert, count: 1, step: 1 };
    return [{ tensor: `${prefix}_${matrix}_exps.bias`, shape: [experts, out], rows: [row], transposed: true }];
  }
  const rowsFrom = (first: number): readonly Strided[] => [{ first, count: out, step: 1 }];
  const stacked = {
    tensor: `${prefix}_${matrix}_exps.weight`,
    shape: [experts, out, inner],
    rows: rowsFrom(expert * out),
  };
  const alone = { tensor: `${prefix}_${matrix}.${expert}.weight`, shape };
  if (matrix === 'down') return [stacked, alone];
  const start = (2 * expert + (matrix === 'gate' ? 0 : 1)) * out;
  const both = {
    tensor: `${prefix}_gate_up_exps.weight`,
    shape: [experts, 2 * out, inner],
    rows: rowsFrom(start),
  };
  return [stacked, both, alone];
}

/** Converters have kept dimensions of size 1 in front, or not: a row is a vector then, which reads as a column. */
function inEitherForm(place: TensorPlace): readonly TensorPlace[] {
  const [first = 1, ...rest] = place.shape;
  if (place.rows) return [place];
  if (rest.length === 0) return [place, { ...place, shape: [1, first], transposed: true }];
  return rest.length === 1 && first === 1 ? [place, { ...place, shape: rest, transposed: true }] : [place];
}

/**
 * True for a tensor that a GGUF file may hold and the model does not read: layers that predict further tokens, and factors of
 * angles, which are part of the spec. `has` knows what else the file holds.
 */
export function isExtraGgufTensor(name: string, { layers }: ModelSpec, has: (name: string) => boolean): boolean {
  const layer = /^blk[.](\d+)[.]/.exec(name)?.[1];
  if (layer === undefined || Number(layer) < layers.length) return name === 'rope_freqs.weight';
  return ['enorm', 'hnorm', 'eh_proj'].some((part) => has(`blk.${layer}.nextn.${part}.weight`));
}
