/**
 * The recipe that the golden files' random weights come from: counter-based 32-bit hashing, so every tensor can be made
 * alone and in any language. README.md beside this file gives it in words.
 */

export function mix(value: number): number {
  let x = value >>> 0;
  x ^= x >>> 16;
  x = Math.imul(x, 0x7feb352d);
  x ^= x >>> 15;
  x = Math.imul(x, 0x846ca68b);
  x ^= x >>> 16;
  return x >>> 0;
}

export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

export function keyOf(seed: number, name: string): number {
  return mix(fnv1a(name) ^ mix(seed + 0x9e3779b9));
}

export function word(key: number, n: number): number {
  return mix(mix(n ^ key) + key + 0x9e3779b9);
}

/** In (0, 1). */
export function uniform(key: number, index: number): number {
  return (word(key, 4 * index) + 0.5) * 2 ** -32;
}

/** A centred sum of four uniform numbers with variance 1. */
export function normal(key: number, index: number): number {
  let sum = 2;
  for (let j = 0; j < 4; j++) sum += word(key, 4 * index + j);
  return (sum * 2 ** -32 - 2) * 1.7320508075688772;
}

export interface Draw {
  readonly kind: 'uniform' | 'normal';
  /** uniform: from, to. */
  readonly from: number;
  readonly to: number;
  /** normal: multiplied with the number drawn. */
  readonly scale: number;
}

export interface RecipeConfig {
  readonly modelType: string;
  readonly tied: boolean;
  /** Latent rows of kv_a_proj_with_mqa, which are drawn a hundred times smaller. */
  readonly latentRank: number;
}

function between(from: number, to: number): Draw {
  return { kind: 'uniform', from, to, scale: 1 };
}

function scaled(gain: number, fan: number): Draw {
  return { kind: 'normal', from: 0, to: 0, scale: gain / Math.sqrt(fan) };
}

/** How a tensor of this name is drawn; the first rule that fits counts. */
export function drawOf(name: string, shape: readonly number[], config: RecipeConfig): Draw {
  const { modelType } = config;
  const inner = shape[1] ?? 1;
  const last = shape[shape.length - 1] ?? 1;
  const addsOne = ['qwen3_next', 'qwen3_5_moe_text'].includes(modelType) && !name.includes('linear_attn');
  const rules: readonly (readonly [boolean, () => Draw])[] = [
    [name.endsWith('A_log'), () => between(-1.2, 1.4)],
    [name.endsWith('dt_bias'), () => between(-3, 0.5)],
    [name.endsWith('sinks'), () => scaled(1, 1)],
    [
      name.includes('e_score_correction_bias'),
      () => (modelType === 'ernie4_5_moe' ? between(-0.1, 0.1) : between(-0.9, 0.1)),
    ],
    [/[._]bias$/.test(name), () => scaled(0.3, 1)],
    [name.includes('norm') && addsOne, () => scaled(0.25, 1)],
    [name.includes('norm'), () => between(0.5, 1.5)],
    [name.includes('embed_tokens'), () => scaled(config.tied ? 0.2 : 1, 1)],
    [/(mlp[.]router|mlp[.]gate|block_sparse_moe[.]gate|mlp[.]gate[.]wg)[.]weight$/.test(name), () => scaled(1.5, inner)],
    [name.includes('conv1d'), () => scaled(0.5, 1)],
    [
      name.endsWith('experts.gate_up_proj'),
      () => (modelType === 'gpt_oss' ? scaled(3, inner) : scaled(1, shape[2] ?? 1)),
    ],
    [name.endsWith('experts.down_proj'), () => scaled(1, (modelType === 'gpt_oss' ? shape[1] : shape[2]) ?? 1)],
    [name.endsWith('q_a_proj.weight'), () => scaled(0.01, inner)],
    [/(q_proj|k_proj|q_b_proj|kv_b_proj)[.]weight$/.test(name), () => scaled(1.6, inner)],
  ];
  const rule = rules.find(([fits]) => fits);
  return rule ? rule[1]() : scaled(1, last);
}

/** Element values in row-major order, rounded to float32. */
export function drawTensor(seed: number, name: string, shape: readonly number[], config: RecipeConfig): Float32Array {
  const key = keyOf(seed, name);
  const { kind, from, to, scale } = drawOf(name, shape, config);
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  const smallElements = name.includes('kv_a_proj_with_mqa') ? config.latentRank * (shape[1] ?? 1) : 0;
  for (let i = 0; i < values.length; i++) {
    const value = kind === 'uniform' ? from + (to - from) * uniform(key, i) : normal(key, i) * scale;
    values[i] = i < smallElements ? value * 0.01 : value;
  }
  return values;
}

/** Rounded to nearest, ties to even. */
export function toBfloat16(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, (u) => (u + 0x7fff + ((u >>> 16) & 1)) >>> 16);
}
