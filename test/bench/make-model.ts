/**
 * Writes a Qwen3-MoE checkpoint with random bfloat16 weights, for benchmarks:
 *   node test/bench/make-model.ts --out DIR [--layers 12] [--hidden 1024] [--heads 16] [--kv-heads 4] [--head-dim 64]
 *     [--experts 32] [--chosen 4] [--expert-width 512] [--vocabulary 32000] [--context 4096] [--seed 1]
 */
import { parseArgs } from 'node:util';
import { writeRandomCheckpoint } from './random-checkpoint.ts';

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

export function qwen3MoeConfig(shape: ModelShape): Readonly<Record<string, unknown>> {
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

/** Writes config.json, model.safetensors, tokenizer.json and generation_config.json into the folder. */
export async function makeModel(folder: string, shape: ModelShape = benchShape): Promise<void> {
  await writeRandomCheckpoint(folder, { config: qwen3MoeConfig(shape), format: 'BF16', seed: shape.seed });
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
