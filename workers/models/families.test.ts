import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { inNewSpelling, inOldSpelling, type Json } from '../../test/fixtures/config-spelling.ts';
import { expectedTensors } from './expected-tensors.ts';
import { readModelSpec } from './families.ts';
import { isExtraTensor, placesOf, type TensorPlace } from './places.ts';

interface Golden {
  readonly config: Json;
  readonly tensors: Readonly<Record<string, { readonly shape: readonly number[] }>>;
}

function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(new URL(`../../test/goldens/${name}.json`, import.meta.url), 'utf8'));
}

const goldens = readdirSync(new URL('../../test/goldens/', import.meta.url))
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.slice(0, -5));

describe('reading a config', () => {
  it.each(goldens)('%s: finds every tensor that the checkpoint has, and no other', (name) => {
    const { config, tensors } = readGolden(name);
    const spec = readModelSpec(config);
    const isThere = ({ tensor, shape }: TensorPlace): boolean =>
      JSON.stringify(tensors[tensor]?.shape) === JSON.stringify(shape);
    const found = expectedTensors(spec).map((expected) => {
      const place = placesOf(expected, spec).find(isThere);
      expect(place, expected.name).toBeDefined();
      return place!.tensor;
    });
    expect([...new Set(found)].sort()).toEqual(
      Object.keys(tensors)
        .filter((tensor) => !isExtraTensor(tensor, spec, (name) => name in tensors))
        .sort(),
    );
  });

  it.each(goldens)('%s: reads the spelling of transformers 4 as that of 5', (name) => {
    const { config } = readGolden(name);
    expect(readModelSpec(inOldSpelling(config))).toEqual(readModelSpec(config));
    expect(readModelSpec(inNewSpelling(config))).toEqual(readModelSpec(config));
  });

  it('reads the scaling of Llama 3 and linear scaling', () => {
    const { config } = readGolden('llama');
    expect(readModelSpec(config).rotary).toEqual({
      theta: 100,
      dims: 8,
      pairs: 'halves',
      scaling: { kind: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 32 },
    });
    const linear = { ...config, rope_parameters: { rope_type: 'linear', rope_theta: 500, factor: 2.5 } };
    expect(readModelSpec(linear).rotary.scaling).toEqual({ kind: 'linear', factor: 2.5 });
  });

  it.each(['deepseek_v3', 'glm4_moe'])('%s: a width of dense layers means nothing where there are none', (name) => {
    const { config } = readGolden(name);
    const spec = readModelSpec({ ...config, first_k_dense_replace: 0 });
    expect(spec.layers.map(({ mlp }) => mlp.kind)).toEqual(['experts', 'experts', 'experts']);
  });

  it('hunyuan_v1_moe: a number of shared experts means nothing where they are not mixed in', () => {
    const { config } = readGolden('hunyuan_v1_moe');
    const spec = readModelSpec({ ...config, use_mixed_mlp_moe: false });
    expect(spec.layers[0]!.mlp).toMatchObject({ kind: 'experts', shared: null });
  });

  it.each([
    [1, { normalise: false, scale: 4 }],
    [2, { normalise: true, scale: 1 }],
  ])('deepseek_v2: normalises the scores of %i chosen experts as its authors do', (chosen, routing) => {
    const { config } = readGolden('deepseek_v2');
    const spec = readModelSpec({ ...config, num_experts_per_tok: chosen, norm_topk_prob: true });
    expect(spec.layers[1]!.mlp).toMatchObject({ routing });
  });

  it('takes head_dim from the config where it is not hidden_size / heads', () => {
    expect(readModelSpec(readGolden('qwen3_moe').config).layers[0]!.attention).toMatchObject({
      heads: 8,
      headDim: 16,
      norm: 'before-rotation',
    });
  });

  it('places experts by mlp_only_layers and decoder_sparse_step', () => {
    const { config } = readGolden('qwen3_moe');
    const kinds = (change: Json) => readModelSpec({ ...config, ...change }).layers.map(({ mlp }) => mlp.kind);
    expect(kinds({})).toEqual(['experts', 'dense', 'experts']);
    expect(kinds({ mlp_only_layers: [], decoder_sparse_step: 2 })).toEqual(['dense', 'experts', 'dense']);
    expect(kinds({ mlp_only_layers: [1], decoder_sparse_step: 2 })).toEqual(['dense', 'dense', 'dense']);
  });

  it('knows both names of the number of experts', () => {
    const { num_experts, ...rest } = readGolden('qwen3_moe').config;
    expect(readModelSpec({ ...rest, num_local_experts: num_experts }).layers[0]?.mlp).toMatchObject({ experts: 8 });
  });
});

describe('refusing a config', () => {
  const llama = readGolden('llama').config;
  const qwen = readGolden('qwen3_moe').config;

  it('names the known families when the family is not one of them', () => {
    expect(() => readModelSpec({ ...llama, model_type: 'mamba' })).toThrow(
      expect.objectContaining({
        code: 'UNKNOWN_FAMILY',
        message: expect.stringMatching(/"mamba".*llama, .*qwen3_moe/),
      }),
    );
  });

  const sizes = ['hidden_size', 'num_hidden_layers', 'num_attention_heads', 'vocab_size', 'max_position_embeddings'];
  const required = ['model_type', 'intermediate_size', ...sizes];

  it.each(required)('names the missing field %s', (field) => {
    expect(() => readModelSpec({ ...llama, [field]: undefined })).toThrow(
      expect.objectContaining({ code: 'INVALID_CHECKPOINT', message: `config.json has no field ${field}` }),
    );
  });

  it.each(['num_experts', 'num_experts_per_tok', 'moe_intermediate_size'])('names the missing field %s', (field) => {
    expect(() => readModelSpec({ ...qwen, [field]: undefined })).toThrow(
      new RegExp(`config.json has no field .*\\b${field}\\b`),
    );
  });

  it.each([
    ['hidden_size', -1],
    ['hidden_size', 2.5],
    ['hidden_size', '64'],
    ['num_hidden_layers', 1e12],
    ['num_key_value_heads', 3],
    ['num_attention_heads', 10],
    ['head_dim', 3],
    ['rms_norm_eps', 0],
    ['tie_word_embeddings', 1],
    ['rope_parameters', 7],
    ['hidden_act', 'gelu'],
    ['layer_types', ['full_attention', 'sliding_attention']],
    ['residual_scale', 2],
    ['partial_rotary_factor', 0.5],
  ])('names the odd field %s = %j', (field, value) => {
    expect(() => readModelSpec({ ...llama, [field]: value })).toThrow(
      expect.objectContaining({ code: 'INVALID_CHECKPOINT', message: expect.stringContaining(field) }),
    );
  });

  it.each([
    ['num_experts_per_tok', 9],
    ['mlp_only_layers', [3]],
    ['mlp_only_layers', 1],
    ['decoder_sparse_step', 0],
    ['norm_topk_prob', 'yes'],
  ])('names the odd field %s = %j of a model with experts', (field, value) => {
    expect(() => readModelSpec({ ...qwen, [field]: value })).toThrow(
      expect.objectContaining({ code: 'INVALID_CHECKPOINT', message: expect.stringContaining(field) }),
    );
  });

  it('refuses a sliding window in use, and reads one that is declared only', () => {
    expect(() => readModelSpec({ ...qwen, use_sliding_window: true, sliding_window: 64 })).toThrow(
      'use_sliding_window',
    );
    expect(readModelSpec({ ...qwen, use_sliding_window: false, sliding_window: 64 })).toEqual(readModelSpec(qwen));
  });

  it('refuses a rotary scaling that it does not compute, in both spellings', () => {
    const longrope = { rope_type: 'longrope', rope_theta: 1, factor: 2 };
    expect(() => readModelSpec({ ...llama, rope_parameters: longrope })).toThrow(
      /rope_parameters.rope_type is "longrope"/,
    );
    const old = { ...llama, rope_parameters: undefined, rope_scaling: { type: 'dynamic', factor: 2 } };
    expect(() => readModelSpec(old)).toThrow(/"dynamic".*supported: dynamic with a fixed alpha/);
    const perLayerType = { full_attention: { rope_type: 'default', rope_theta: 1 } };
    expect(() => readModelSpec({ ...llama, rope_parameters: perLayerType })).toThrow('rope_parameters.rope_theta');
  });

  it.each([[null], [[]], ['llama'], [3]])('refuses %j, which is no config', (config) => {
    expect(() => readModelSpec(config)).toThrow(expect.objectContaining({ code: 'INVALID_CHECKPOINT' }));
  });
});
