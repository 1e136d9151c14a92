/** A field that is missing, unknown, or contradicts another is an error that names it; nothing is assumed in silence. */
import { describe, expect, it } from 'vitest';
import type { Json } from '../../test/fixtures/config-spelling.ts';
import { releasedConfig } from '../../test/fixtures/released-models.ts';
import { readModelSpec } from './families.ts';

function refusal(config: Json): string {
  try {
    readModelSpec(config);
  } catch (error) {
    expect(error).toMatchObject({ code: 'INVALID_CHECKPOINT' });
    return (error as Error).message;
  }
  return 'none';
}

const yarn = { rope_type: 'yarn', factor: 40, original_max_position_embeddings: 4096, mscale: 1, mscale_all_dim: 1 };
const oneDense = [...Array<string>(1).fill('dense'), ...Array<string>(60).fill('sparse')];
const lastDense = [...Array<string>(27).fill('sparse'), 'dense'];
const allFull = Array<string>(48).fill('full_attention');

describe('two fields that say different things', () => {
  it.each<[name: string, change: Json, named: RegExp]>([
    ['deepseek-v3', { rope_parameters: { ...yarn, rope_theta: 10_000, factor: 32 } }, /rope_scaling/],
    [
      'deepseek-v3',
      { rope_parameters: { ...yarn, rope_theta: 50_000 }, rope_scaling: null },
      /rope_theta is 10000, expected 50000/,
    ],
    ['deepseek-v3', { rope_scaling: { ...yarn, type: 'linear' } }, /rope_scaling.type is "linear", expected yarn/],
    [
      'deepseek-v3',
      { rope_scaling: { ...yarn, attention_factor: 1.3 } },
      /rope_scaling.attention_factor is 1.3, expected 1,/,
    ],
    ['gpt-oss-20b', { initial_context_length: 8192 }, /initial_context_length is 8192, expected 4096/],
    ['minimax-m2', { partial_rotary_factor: 1 }, /partial_rotary_factor or rotary_dim is \[128,64\]/],
    ['glm-4.5', { rope_parameters: { rope_theta: 1e6, partial_rotary_factor: 1 } }, /partial_rotary_factor/],
    ['qwen3-30b-a3b', { num_local_experts: 64 }, /num_local_experts is 64, expected 128, as num_experts says/],
    ['gpt-oss-20b', { experts_per_token: 8 }, /experts_per_token is 8, expected 4, as num_experts_per_tok says/],
    ['ernie-4.5-21b-a3b-pt', { num_experts_per_tok: 8 }, /moe_k is 6, expected 8/],
    ['deepseek-v3', { mlp_layer_types: oneDense }, /mlp_layer_types .* in layer 1, as first_k_dense_replace/],
    ['ernie-4.5-21b-a3b-pt', { mlp_layer_types: lastDense }, /mlp_layer_types .* in layer 0, as moe_layer_start_index/],
    [
      'qwen3-30b-a3b',
      { mlp_layer_types: ['dense', ...Array<string>(47).fill('sparse')] },
      /mlp_layer_types .* in layer 0/,
    ],
    ['qwen3-next-80b-a3b-instruct', { layer_types: allFull }, /layer_types .* in layer 0, as full_attention_interval/],
    ['glm-5.2', { index_topk_freq: 2 }, /indexer_types .* as index_topk_freq/],
    ['glm-5.2', { index_topk_pattern: 'F'.repeat(78) }, /indexer_types .* as index_topk_pattern/],
    ['glm-5', { qk_head_dim: 192 }, /qk_head_dim is 192, expected 192 \+ 64/],
    ['hunyuan-a13b-instruct', { attention_head_dim: 64 }, /attention_head_dim is 64, expected 128, as head_dim says/],
    ['hunyuan-a13b-instruct', { intermediate_size: 8192 }, /intermediate_size is 8192, expected 3072/],
    ['deepseek-v2', { topk_method: 'greedy' }, /n_group is 8, expected 1, as topk_method is greedy/],
    ['qwen3.5-35b-a3b', { tie_word_embeddings: true }, /tie_word_embeddings is true, expected false, as text_config/],
    ['qwen3.5-35b-a3b', { vocab_size: 1000 }, /vocab_size is 1000, expected 248320, as text_config.vocab_size says/],
  ])('%s with %j', (name, change, named) => {
    expect(refusal({ ...releasedConfig(name), ...change })).toMatch(named);
  });

  it('says both, and no more, where they are the same', () => {
    const config = releasedConfig('deepseek-v3');
    const { rope_scaling: scaling } = config;
    const both = { ...config, rope_parameters: { ...(scaling as Json), rope_theta: 10_000 } };
    expect(readModelSpec(both)).toEqual(readModelSpec(config));
    const types = ['dense', 'dense', 'dense', ...Array<string>(58).fill('sparse')];
    expect(readModelSpec({ ...config, mlp_layer_types: types })).toEqual(readModelSpec(config));
    const { first_k_dense_replace: _, ...rest } = config;
    expect(readModelSpec({ ...rest, mlp_layer_types: types })).toEqual(readModelSpec(config));
  });
});

describe('a field that a family cannot do without', () => {
  it.each<[name: string, field: string, named?: string]>([
    ['deepseek-v3', 'n_group'],
    ['deepseek-v3', 'topk_group'],
    ['deepseek-v3', 'norm_topk_prob'],
    ['deepseek-v3', 'routed_scaling_factor'],
    ['deepseek-v3', 'rms_norm_eps'],
    ['deepseek-v3', 'rope_theta'],
    ['deepseek-v3', 'first_k_dense_replace'],
    ['deepseek-v3', 'qk_rope_head_dim'],
    ['deepseek-v2', 'topk_method'],
    ['deepseek-v2', 'n_group'],
    ['deepseek-v3.2', 'index_topk'],
    ['glm-4.5', 'head_dim'],
    ['glm-4.5', 'num_key_value_heads'],
    ['qwen3-0.6b', 'head_dim'],
    ['qwen3-30b-a3b', 'norm_topk_prob'],
    ['qwen2-57b-a14b', 'norm_topk_prob'],
    ['qwen2-57b-a14b', 'shared_expert_intermediate_size'],
    ['qwen3-next-80b-a3b-instruct', 'full_attention_interval'],
    ['ernie-4.5-21b-a3b-pt', 'moe_layer_start_index'],
    ['gpt-oss-20b', 'layer_types'],
    ['gpt-oss-20b', 'sliding_window'],
    ['mixtral-8x7b-instruct-v0.1', 'num_local_experts'],
    ['hunyuan-a13b-instruct', 'moe_topk'],
  ])('%s without %s', (name, field) => {
    const { [field]: _, ...rest } = releasedConfig(name);
    expect(refusal(rest)).toMatch(new RegExp(`has no field (.* or )?${field}( or |$)`));
  });

  it.each<[name: string, left: string]>([
    ['minimax-m2', 'rotary_dim'],
    ['glm-4.5', 'partial_rotary_factor'],
    ['qwen3-next-80b-a3b-instruct', 'partial_rotary_factor'],
  ])('%s without the part of a head that is rotated', (name, left) => {
    const { [left]: _, ...rest } = releasedConfig(name);
    expect(refusal(rest)).toBe('config.json has no field partial_rotary_factor or rotary_dim');
  });

  it.each<[name: string, left: string, named: string]>([
    ['deepseek-v3', 'mscale', 'rope_scaling.mscale'],
    ['kimi-k2-instruct', 'mscale_all_dim', 'rope_scaling.mscale_all_dim'],
    ['deepseek-v3', 'type', 'rope_scaling.rope_type or rope_scaling.type'],
    ['llama-3.3-70b-instruct', 'rope_type', 'rope_scaling.rope_type or rope_scaling.type'],
    ['hunyuan-a13b-instruct', 'type', 'rope_scaling.rope_type or rope_scaling.type'],
  ])('%s without %s in its rope_scaling', (name, left, named) => {
    const { rope_scaling: scaling, ...config } = releasedConfig(name);
    const { [left]: _, ...rest } = scaling as Json;
    expect(refusal({ ...config, rope_scaling: rest })).toBe(`config.json has no field ${named}`);
  });

  it('is missing in a section as well', () => {
    const { rope_scaling: scaling, ...config } = releasedConfig('gpt-oss-20b');
    const { original_max_position_embeddings: _, ...rest } = scaling as Json;
    expect(refusal({ ...config, rope_scaling: rest })).toBe(
      'config.json has no field rope_scaling.original_max_position_embeddings',
    );
    const { text_config: inner, ...outer } = releasedConfig('qwen3.5-35b-a3b');
    const { vocab_size: __, ...text } = inner as Json;
    expect(refusal({ ...outer, text_config: text })).toBe('config.json has no field text_config.vocab_size');
  });
});

describe('a field that asks for another computation', () => {
  it.each<[name: string, change: Json]>([
    ['deepseek-v3', { scoring_func: 'softmax' }],
    ['deepseek-v3', { topk_method: 'greedy' }],
    ['deepseek-v3', { moe_layer_freq: 2 }],
    ['deepseek-v3', { attention_bias: true }],
    ['deepseek-v3', { index_topk: 2048 }],
    ['deepseek-v3', { partial_rotary_factor: 0.5 }],
    ['deepseek-v2', { scoring_func: 'sigmoid' }],
    ['glm-4.5', { scoring_func: 'softmax' }],
    ['glm-5.2', { moe_router_dtype: 'bfloat16' }],
    ['glm-5.2', { index_topk_pattern: 'FSX' }],
    ['qwen3-30b-a3b', { is_encoder_decoder: true }],
    ['qwen3-30b-a3b', { add_cross_attention: true }],
    ['qwen3-30b-a3b', { pruned_heads: { 0: [1] } }],
    ['qwen3-30b-a3b', { hidden_act: 'gelu' }],
    ['qwen3-30b-a3b', { shared_expert_intermediate_size: 512 }],
    ['qwen3-next-80b-a3b-instruct', { attn_output_gate: false }],
    ['qwen3.5-35b-a3b', { norm_topk_prob: false }],
    ['qwen3.5-35b-a3b', { output_gate_type: 'sigmoid' }],
    ['qwen3.5-35b-a3b', { residual_scale: 2 }],
    ['ernie-4.5-21b-a3b-pt', { use_bias: true }],
    ['ernie-4.5-21b-a3b-pt', { moe_gate_act: 'sigmoid' }],
    ['ernie-4.5-21b-a3b-pt', { compression_ratio: 2 }],
    ['ernie-4.5-21b-a3b-pt', { moe_norm_min: 0.5 }],
    ['gpt-oss-20b', { swiglu_alpha: 1 }],
    ['minimax-m2', { attn_type_list: Array<number>(62).fill(2) }],
    ['minimax-m2', { shared_intermediate_size: 1536 }],
    ['minimax-m2', { layernorm_mlp_beta: 3.5 }],
    ['minimax-m2', { qk_norm_type: 'per_head' }],
    ['minimax-m2', { use_sliding_window: true, sliding_window: 128 }],
    ['hunyuan-a13b-instruct', { use_cla: true }],
    ['hunyuan-a13b-instruct', { moe_topk: [1, ...Array<number>(31).fill(8)] }],
    ['hunyuan-a13b-instruct', { norm_topk_prob: false }],
    ['hunyuan-a13b-instruct', { routed_scaling_factor: 2 }],
    ['smollm2-135m-instruct', { rope_interleaved: true }],
    ['llama-2-7b', { partial_rotary_factor: 0.5 }],
  ])('%s with %j', (name, change) => {
    const field = Object.keys(change).at(-1)!.replace('sliding_window', '(use_)?sliding_window');
    expect(refusal({ ...releasedConfig(name), ...change })).toMatch(new RegExp(field));
  });

  it('stays unknown where another family has it', () => {
    expect(refusal({ ...releasedConfig('llama-2-7b'), num_experts: 8 })).toMatch(/num_experts is 8, and no part/);
    expect(refusal({ ...releasedConfig('llama-2-7b'), rope_scaling: { type: 'default', factor: 4 } })).toMatch(
      /rope_scaling.factor is 4, and no part/,
    );
  });

  it('bounds layers and experts', () => {
    expect(refusal({ ...releasedConfig('llama-2-7b'), num_hidden_layers: 2 ** 30 })).toMatch(
      /asks for 1073741824 layers/,
    );
    expect(refusal({ ...releasedConfig('qwen3-30b-a3b'), num_experts: 2 ** 30 })).toMatch(/48 layers of 1073741824/);
  });
});
