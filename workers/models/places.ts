/**
 * Where a checkpoint may hold a tensor of the model: under which of many names, alone or with others in a larger tensor. Which
 * of them it is does not follow from the family, so a reader tries them in turn by name and shape.
 */
import type { TensorShape } from './expected-tensors.ts';
import type { DeltaSpec, ModelSpec } from './spec.ts';

/** Every `step`th from `first` on. */
export interface Strided {
  readonly first: number;
  readonly count: number;
  readonly step: number;
}

export interface TensorPlace {
  /** Name and shape of what is stored. */
  readonly tensor: string;
  readonly shape: readonly number[];
  /**
   * With all dimensions but the last taken together as rows: those that make up the tensor, in this order, and of which
   * columns. undefined: all.
   */
  readonly rows?: readonly Strided[];
  readonly columns?: Strided;
  /** Then rows are columns and columns rows. */
  readonly transposed?: true;
  /** What is stored beside it if it is this place: a square tensor does not say itself which way it lies. */
  readonly beside?: StoredShape;
}

export interface StoredShape {
  readonly tensor: string;
  readonly shape: readonly number[];
}

/** Families that store experts as [in, out], rows of gate and up in turn. */
const interleavedFamilies: ReadonlySet<string> = new Set(['gpt_oss']);

/** From DeepSeek's names to those of others. */
const renames: readonly (readonly [from: RegExp, to: string])[] = [
  [/[.]mlp[.]experts[.](\d+)[.]gate_proj[.]/, '.block_sparse_moe.experts.$1.w1.'],
  [/[.]mlp[.]experts[.](\d+)[.]up_proj[.]/, '.block_sparse_moe.experts.$1.w3.'],
  [/[.]mlp[.]experts[.](\d+)[.]down_proj[.]/, '.block_sparse_moe.experts.$1.w2.'],
  [/[.]mlp[.]gate[.]weight$/, '.block_sparse_moe.gate.weight'],
  [/[.]mlp[.]gate[.]weight$/, '.mlp.gate.wg.weight'],
  [/[.]mlp[.]gate[.](weight|bias)$/, '.mlp.router.$1'],
  [/[.]mlp[.]gate[.]e_score_correction_bias$/, '.block_sparse_moe.e_score_correction_bias'],
  [/[.]mlp[.]gate[.]e_score_correction_bias$/, '.mlp.e_score_correction_bias'],
  [/[.]mlp[.]shared_experts[.]/, '.mlp.shared_expert.'],
  [/[.]mlp[.]shared_experts[.]/, '.mlp.shared_mlp.'],
  [/[.]self_attn[.]q_norm[.]/, '.self_attn.query_layernorm.'],
  [/[.]self_attn[.]k_norm[.]/, '.self_attn.key_layernorm.'],
];

/** A text model inside one for images and text. */
const prefixes: readonly (readonly [from: RegExp, to: string])[] = [
  [/^/, ''],
  [/^model[.]/, 'model.language_model.'],
];

export function placesOf(tensor: TensorShape, spec: ModelSpec): readonly TensorPlace[] {
  const { name, shape } = tensor;
  const alone = [name, ...renames.filter(([from]) => from.test(name)).map(([from, to]) => name.replace(from, to))];
  const places: readonly TensorPlace[] = [
    ...alone.map((stored) => ({ tensor: stored, shape })),
    ...ernieCorrection(tensor),
    ...stackedPlaces(tensor, spec),
    ...groupedDeltaPlaces(tensor, spec),
  ];
  return prefixes.flatMap(([from, to]) => {
    const within = <T extends StoredShape>(stored: T): T => ({ ...stored, tensor: stored.tensor.replace(from, to) });
    return places.map((place) => ({ ...within(place), ...(place.beside ? { beside: within(place.beside) } : {}) }));
  });
}

/** A row of its own matrix. */
function ernieCorrection({ name, shape }: TensorShape): TensorPlace[] {
  const stored = name.replace(/[.]gate[.]e_score_correction_bias$/, '.moe_statics.e_score_correction_bias');
  return stored === name ? [] : [{ tensor: stored, shape: [1, ...shape], transposed: true }];
}

function every(first: number, count: number, step = 1): Strided {
  return { first, count, step };
}

/** All experts of a layer in one tensor, gate and up in one as well. */
function stackedPlaces({ name, shape }: TensorShape, spec: ModelSpec): TensorPlace[] {
  const parts = /^(.*[.]layers[.](\d+)[.]mlp[.]experts)[.](\d+)[.](gate|up|down)_proj[.](weight|bias)$/.exec(name);
  const [, prefix = '', layer = '', number = '', matrix = '', kind] = parts ?? [];
  const mlp = parts ? spec.layers[Number(layer)]?.mlp : undefined;
  if (mlp?.kind !== 'experts') return [];
  const { experts } = mlp;
  const expert = Number(number);
  const [out = 1] = shape;
  const isInterleaved = interleavedFamilies.has(spec.family);
  if (kind === 'bias') {
    if (matrix === 'down') {
      return [
        { tensor: `${prefix}.down_proj_bias`, shape: [experts, out], rows: [every(expert, 1)], transposed: true },
      ];
    }
    const columns = isInterleaved ? every(matrix === 'gate' ? 0 : 1, out, 2) : every(matrix === 'gate' ? 0 : out, out);
    const both = { tensor: `${prefix}.gate_up_proj_bias`, shape: [experts, 2 * out] };
    return [{ ...both, rows: [every(expert, 1)], columns, transposed: true }];
  }
  return stackedMatrix({ prefix, matrix, shape, expert, experts, isInterleaved });
}

interface StackedMatrix {
  readonly prefix: string;
  readonly matrix: string;
  readonly shape: readonly number[];
  readonly expert: number;
  readonly experts: number;
  readonly isInterleaved: boolean;
}

/** As [experts, out, in] or as [experts, in, out]: both tensors of a layer lie the same way. */
function stackedMatrix({ prefix, matrix, shape, expert, experts, isInterleaved }: StackedMatrix): TensorPlace[] {
  const [out = 1, inner = 1] = shape;
  const [width, hidden] = matrix === 'down' ? [inner, out] : [out, inner];
  const gateUp = `${prefix}.gate_up_proj`;
  const down = `${prefix}.down_proj`;
  const asRows = {
    gateUp: { tensor: gateUp, shape: [experts, 2 * width, hidden] },
    down: { tensor: down, shape: [experts, hidden, width] },
  };
  const asColumns = {
    gateUp: { tensor: gateUp, shape: [experts, hidden, 2 * width] },
    down: { tensor: down, shape: [experts, width, hidden] },
  };
  const across = { rows: [every(expert * inner, inner)], transposed: true } as const;
  let places: TensorPlace[];
  if (matrix === 'down') {
    places = [
      { ...asRows.down, rows: [every(expert * out, out)], beside: asRows.gateUp },
      { ...asColumns.down, ...across, beside: asColumns.gateUp },
    ];
  } else {
    const half = matrix === 'gate' ? 0 : 1;
    const part = isInterleaved ? every(half, out, 2) : every(half * out, out);
    places = [
      { ...asRows.gateUp, rows: [{ ...part, first: expert * 2 * out + part.first }], beside: asRows.down },
      { ...asColumns.gateUp, ...across, columns: part, beside: asColumns.down },
    ];
  }
  return isInterleaved ? places.reverse() : places;
}

/** Qwen3-Next: projections of a delta net by key head, each with what belongs to it. */
function groupedDeltaPlaces({ name, shape }: TensorShape, spec: ModelSpec): TensorPlace[] {
  const parts = /^(.*[.]layers[.](\d+)[.]linear_attn)[.]in_proj_(qkv|z|b|a)[.]weight$/.exec(name);
  const [, prefix, layer, kind] = parts ?? [];
  const attention = parts ? spec.layers[Number(layer)]?.attention : undefined;
  if (attention?.kind !== 'delta') return [];
  const hidden = shape[1] ?? 1;
  const perKeyHead = attention.valueHeads / attention.keyHeads;
  if (kind === 'b' || kind === 'a') {
    const rows = byKeyHead(attention, 2 * perKeyHead, kind === 'b' ? 0 : perKeyHead, perKeyHead);
    return [{ tensor: `${prefix}.in_proj_ba.weight`, shape: [2 * attention.valueHeads, hidden], rows }];
  }
  const values = perKeyHead * attention.valueDim;
  const { keyDim } = attention;
  const group = 2 * keyDim + 2 * values;
  const part = (offset: number, count: number): Strided[] => byKeyHead(attention, group, offset, count);
  const rows =
    kind === 'z'
      ? part(2 * keyDim + values, values)
      : [...part(0, keyDim), ...part(keyDim, keyDim), ...part(2 * keyDim, values)];
  return [{ tensor: `${prefix}.in_proj_qkvz.weight`, shape: [attention.keyHeads * group, hidden], rows }];
}

function byKeyHead({ keyHeads }: DeltaSpec, group: number, offset: number, count: number): Strided[] {
  return Array.from({ length: keyHeads }, (_, head) => every(head * group + offset, count));
}

/**
 * True for a tensor that some files hold and the model does not read: some layers beyond the last and mtp.* are for predicting
 * several tokens, frequencies are computed, and a model for images has more than text. `has` knows what else the checkpoint holds: a
 * layer beyond the last that is like those before it means that config.json is of another model.
 */
export function isExtraTensor(name: string, { layers }: ModelSpec, has: (name: string) => boolean): boolean {
  const [, prefix, layer] = /^(model[.](?:language_model[.])?layers[.](\d+)[.])/.exec(name) ?? [];
  if (layer !== undefined && Number(layer) >= layers.length) return predictingParts.some((part) => has(prefix + part));
  return extraNames.some((pattern) => pattern.test(name));
}

/** What joins a position's state with the token after it: only layers that predict several tokens have it. */
const predictingParts = ['enorm.weight', 'hnorm.weight', 'eh_proj.weight'];

const extraNames = [
  /^mtp[.]/,
  /^model[.]mtp_(block|emb_norm|hidden_norm|linear_proj)[.]/,
  /[.]rotary_emb[.]inv_freq$/,
  /^model[.]visual[.]/,
  // How others round activations and the cache.
  /[.](input_scale|input_zero_point|output_scale|q_scale|k_scale|v_scale)$/,
];
