/**
 * Writes a Qwen3-MoE checkpoint with random bfloat16 weights, for benchmarks:
 *   node test/bench/make-model.ts --out DIR [--layers 12] [--hidden 1024] [--heads 16] [--kv-heads 4] [--head-dim 64]
 *     [--experts 32] [--chosen 4] [--expert-width 512] [--vocabulary 32000] [--context 4096] [--seed 1]
 * The same arguments give the same bytes. Matrices repeat one block of random numbers, scaled as in a trained model;
 * what they compute means nothing, what it costs is real.
 */
import { mkdir, open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { expectedTensors, type TensorShape } from '../../workers/models/expected-tensors.ts';
import { readModelSpec } from '../../workers/models/families.ts';
import { keyOf, normal, toBfloat16 } from '../goldens/recipe.ts';
import { encodeHeader, plainTokenizer } from '../goldens/write-checkpoint.ts';

const blockElements = 1 << 20;
/** Each tensor starts elsewhere in the block, so that no two experts are equal. */
const strideElements = 40_507;

export interface ModelShape {
  readonly layers: number;
  readonly hidden: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly experts: number;
  readonly chosen: number;
  readonly expertWidth: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly seed: number;
}

/** About 604M parameters in its experts, 701M in all. */
export const benchShape: ModelShape = {
  layers: 12,
  hidden: 1024,
  heads: 16,
  kvHeads: 4,
  headDim: 64,
  experts: 32,
  chosen: 4,
  expertWidth: 512,
  vocabulary: 32_000,
  context: 4096,
  seed: 1,
};

function configOf(shape: ModelShape): Readonly<Record<string, unknown>> {
  return {
    architectures: ['Qwen3MoeForCausalLM'],
    model_type: 'qwen3_moe',
    vocab_size: shape.vocabulary,
    hidden_size: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    head_dim: shape.headDim,
    intermediate_size: shape.expertWidth,
    moe_intermediate_size: shape.expertWidth,
    num_experts: shape.experts,
    num_experts_per_tok: shape.chosen,
    norm_topk_prob: true,
    decoder_sparse_step: 1,
    mlp_only_layers: [],
    hidden_act: 'silu',
    rms_norm_eps: 1e-6,
    rope_theta: 10_000,
    max_position_embeddings: shape.context,
    tie_word_embeddings: false,
    eos_token_id: 2,
    torch_dtype: 'bfloat16',
  };
}

/** Random numbers with the deviation that keeps a layer's output as large as its input. */
class RandomWeights {
  readonly #seed: number;
  readonly #blocks = new Map<number, Uint16Array>();
  readonly #ones = new Uint16Array(blockElements).fill(0x3f80);
  #tensors = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  /** Pieces of the tensor's bytes, in order. */
  *of({ shape }: TensorShape): Generator<Uint8Array> {
    const count = shape.reduce((product, size) => product * size, 1);
    const source = shape.length === 1 ? this.#ones : this.#block(shape[1] ?? 1);
    let start = (this.#tensors++ * strideElements) % blockElements;
    for (let done = 0; done < count; ) {
      const piece = source.subarray(start, start + count - done);
      yield new Uint8Array(piece.buffer, piece.byteOffset, piece.byteLength);
      done += piece.length;
      start = 0;
    }
  }

  /** Normal numbers for a matrix of this many columns. */
  #block(columns: number): Uint16Array {
    const known = this.#blocks.get(columns);
    if (known) return known;
    const key = keyOf(this.#seed, `block ${columns}`);
    const scale = 1 / Math.sqrt(columns);
    const block = toBfloat16(Float32Array.from({ length: blockElements }, (_, i) => normal(key, i) * scale));
    this.#blocks.set(columns, block);
    return block;
  }
}

/** Writes config.json, model.safetensors, tokenizer.json and generation_config.json into the folder. */
export async function makeModel(folder: string, shape: ModelShape = benchShape): Promise<void> {
  const config = configOf(shape);
  const tensors = expectedTensors(readModelSpec(config));
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'config.json'), `${JSON.stringify(config, null, 1)}\n`);
  await writeFile(path.join(folder, 'generation_config.json'), '{"eos_token_id": 2, "do_sample": false}\n');
  await writeFile(path.join(folder, 'tokenizer.json'), JSON.stringify(plainTokenizer(shape.vocabulary)));
  const weights = new RandomWeights(shape.seed);
  await using file = await open(path.join(folder, 'model.safetensors'), 'w');
  const heads = tensors.map((tensor) => ({
    ...tensor,
    dtype: 'BF16',
    byteLength: 2 * tensor.shape.reduce((product, size) => product * size, 1),
  }));
  await file.writeFile(encodeHeader(heads));
  for (const tensor of tensors) for (const piece of weights.of(tensor)) await file.writeFile(piece);
}

async function main(): Promise<void> {
  const number = { type: 'string' } as const;
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      layers: number,
      hidden: number,
      heads: number,
      'kv-heads': number,
      'head-dim': number,
      experts: number,
      chosen: number,
      'expert-width': number,
      vocabulary: number,
      context: number,
      seed: number,
    },
  });
  if (!values.out)
    throw new Error('usage: make-model.ts --out DIR [--layers N] [--hidden N] ... (see the head of the file)');
  await makeModel(values.out, {
    layers: Number(values.layers ?? benchShape.layers),
    hidden: Number(values.hidden ?? benchShape.hidden),
    heads: Number(values.heads ?? benchShape.heads),
    kvHeads: Number(values['kv-heads'] ?? benchShape.kvHeads),
    headDim: Number(values['head-dim'] ?? benchShape.headDim),
    experts: Number(values.experts ?? benchShape.experts),
    chosen: Number(values.chosen ?? benchShape.chosen),
    expertWidth: Number(values['expert-width'] ?? benchShape.expertWidth),
    vocabulary: Number(values.vocabulary ?? benchShape.vocabulary),
    context: Number(values.context ?? benchShape.context),
    seed: Number(values.seed ?? benchShape.seed),
  });
}

if (import.meta.main) await main();
