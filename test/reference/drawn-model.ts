/** A random model: its config.json and the tensors that its files hold, without their values. */
import type { Random } from './random.ts';

export type Json = Readonly<Record<string, unknown>>;

export interface StoredTensor {
  readonly dtype: 'BF16' | 'F32';
  readonly shape: readonly number[];
}

export interface DrawnModel {
  readonly config: Json;
  readonly tensors: Readonly<Record<string, StoredTensor>>;
}

/** Collects the tensors of a model by the names they have on the Hub. */
export class TensorTable {
  readonly tensors: Record<string, StoredTensor> = {};
  readonly #dtype: StoredTensor['dtype'];

  constructor(dtype: StoredTensor['dtype']) {
    this.#dtype = dtype;
  }

  add(name: string, ...shape: readonly number[]): void {
    this.tensors[name] = { dtype: this.#dtype, shape };
  }

  addFloat(name: string, ...shape: readonly number[]): void {
    this.tensors[name] = { dtype: 'F32', shape };
  }

  linear(name: string, out: number, inner: number, bias = false): void {
    this.add(`${name}.weight`, out, inner);
    if (bias) this.add(`${name}.bias`, out);
  }

  norm(name: string, width: number): void {
    this.add(`${name}.weight`, width);
  }

  swiglu(prefix: string, hidden: number, width: number, bias = false): void {
    this.linear(`${prefix}.gate_proj`, width, hidden, bias);
    this.linear(`${prefix}.up_proj`, width, hidden, bias);
    this.linear(`${prefix}.down_proj`, hidden, width, bias);
  }

  experts(prefix: string, { count, hidden, width, layout }: ExpertShapes): void {
    if (layout === 'stacked') {
      this.add(`${prefix}.gate_up_proj`, count, 2 * width, hidden);
      this.add(`${prefix}.down_proj`, count, hidden, width);
      return;
    }
    for (let expert = 0; expert < count; expert++) {
      if (layout === 'named') {
        this.swiglu(`${prefix}.${expert}`, hidden, width);
        continue;
      }
      this.linear(`${prefix}.${expert}.w1`, width, hidden);
      this.linear(`${prefix}.${expert}.w3`, width, hidden);
      this.linear(`${prefix}.${expert}.w2`, hidden, width);
    }
  }
}

/** named: gate_proj, up_proj, down_proj of each expert; numbered: w1, w3, w2; stacked: one tensor for all. */
export type ExpertLayout = 'named' | 'numbered' | 'stacked';

export interface ExpertShapes {
  readonly count: number;
  readonly hidden: number;
  readonly width: number;
  readonly layout: ExpertLayout;
}

/** Sizes that every model has. */
export interface Frame {
  readonly hidden: number;
  readonly layers: number;
  readonly vocabulary: number;
  readonly tied: boolean;
  readonly table: TensorTable;
  /** What config.json says of them. */
  readonly fields: Json;
}

/** Vocabularies that few rank counts divide, and one so small that some ranks of many have no part of it. */
const vocabularies = [13, 101, 127, 150, 211, 257];

export function drawFrame(random: Random, layers: readonly [least: number, most: number], hidden?: number): Frame {
  const chosen = {
    hidden: hidden ?? random.pick([20, 36, 44, 52, 56, 64, 72, 136, 288]),
    layers: random.int(...layers),
    vocabulary: random.pick(vocabularies),
    tied: random.oneIn(2),
  };
  const fields = {
    vocab_size: chosen.vocabulary,
    hidden_size: chosen.hidden,
    num_hidden_layers: chosen.layers,
    rms_norm_eps: random.pick([1e-6, 1e-5, 1e-3]),
    max_position_embeddings: random.pick([128, 200, 1000]),
    tie_word_embeddings: chosen.tied,
    hidden_act: 'silu',
    bos_token_id: 1,
    eos_token_id: random.pick<unknown>([2, [2, 3]]),
    [random.pick(['dtype', 'torch_dtype'])]: 'float32',
  };
  const table = new TensorTable(random.pick(['BF16', 'BF16', 'F32']));
  return { ...chosen, table, fields };
}

/** `layer` adds what is below the name of a layer, but for its two norms. */
export function finish(
  frame: Frame,
  config: Json,
  prefix: string,
  layer: (name: string, index: number) => void,
): DrawnModel {
  const { hidden, layers, vocabulary, tied, table, fields } = frame;
  table.add(`${prefix}.embed_tokens.weight`, vocabulary, hidden);
  for (let index = 0; index < layers; index++) {
    const name = `${prefix}.layers.${index}`;
    table.norm(`${name}.input_layernorm`, hidden);
    table.norm(`${name}.post_attention_layernorm`, hidden);
    layer(name, index);
  }
  table.norm(`${prefix}.norm`, hidden);
  if (!tied) table.add('lm_head.weight', vocabulary, hidden);
  return { config: { ...fields, ...config }, tensors: table.tensors };
}

/** A choice of experts; of many more often few than all. */
export function drawExperts(random: Random): { readonly count: number; readonly chosen: number } {
  const count = random.pick([3, 4, 5, 6, 7, 8, 9, 12]);
  return { count, chosen: random.oneIn(3) ? random.int(1, count) : random.int(1, Math.min(4, count)) };
}

/** Widths that some of the rank counts from 2 to 6 divide. */
export function drawWidth(random: Random): number {
  return random.pick([60, 60, 60, 120, 240, 48, 40, 45, 50]);
}

export function drawExpertWidth(random: Random): number {
  return random.pick([60, 60, 120, 12, 20, 30, 15, 18, 7]);
}
