import { describe, expect, it } from 'vitest';
import { releasedConfig } from '../../test/fixtures/released-models.ts';
import { expectedTensors, type TensorShape } from './expected-tensors.ts';
import { readModelSpec } from './families.ts';
import { isExtraTensor, placesOf, type TensorPlace } from './places.ts';
import type { ModelSpec } from './spec.ts';

function specOf(name: string): ModelSpec {
  return readModelSpec(releasedConfig(name));
}

function tensor(spec: ModelSpec, name: string): TensorShape {
  const found = expectedTensors(spec).find((expected) => expected.name === name);
  if (!found) throw new Error(`there is no ${name}`);
  return found;
}

function place(spec: ModelSpec, name: string, stored: string): readonly TensorPlace[] {
  return placesOf(tensor(spec, name), spec).filter((one) => one.tensor === stored);
}

describe('the places of a tensor', () => {
  it('are its own name first, and the same within a model for images', () => {
    const spec = specOf('qwen3.5-35b-a3b');
    const places = placesOf(tensor(spec, 'model.embed_tokens.weight'), spec);
    expect(places.map((one) => one.tensor)).toEqual([
      'model.embed_tokens.weight',
      'model.language_model.embed_tokens.weight',
    ]);
    const head = placesOf(tensor(spec, 'lm_head.weight'), spec).map((one) => one.tensor);
    expect(new Set(head)).toEqual(new Set(['lm_head.weight']));
  });

  it('are rows of stacked experts, gate before up, or columns where the tensor lies across', () => {
    const spec = specOf('qwen3-30b-a3b');
    const prefix = 'model.layers.3.mlp.experts';
    // 128 experts of 768 columns in a stream of 2048.
    expect(place(spec, `${prefix}.5.up_proj.weight`, `${prefix}.gate_up_proj`)).toEqual([
      expect.objectContaining({ shape: [128, 1536, 2048], rows: [{ first: 5 * 1536 + 768, count: 768, step: 1 }] }),
      expect.objectContaining({
        shape: [128, 2048, 1536],
        rows: [{ first: 5 * 2048, count: 2048, step: 1 }],
        columns: { first: 768, count: 768, step: 1 },
        transposed: true,
      }),
    ]);
    expect(place(spec, `${prefix}.5.down_proj.weight`, `${prefix}.down_proj`)).toEqual([
      expect.objectContaining({ shape: [128, 2048, 768], rows: [{ first: 5 * 2048, count: 2048, step: 1 }] }),
      expect.objectContaining({
        shape: [128, 768, 2048],
        rows: [{ first: 5 * 768, count: 768, step: 1 }],
        transposed: true,
      }),
    ]);
  });

  it('of gpt-oss are across first, gate and up in turn, with their biases', () => {
    const spec = specOf('gpt-oss-20b');
    const prefix = 'model.layers.0.mlp.experts';
    const [first] = place(spec, `${prefix}.2.up_proj.weight`, `${prefix}.gate_up_proj`);
    expect(first).toMatchObject({
      shape: [32, 2880, 5760],
      rows: [{ first: 2 * 2880, count: 2880, step: 1 }],
      columns: { first: 1, count: 2880, step: 2 },
      transposed: true,
    });
    expect(place(spec, `${prefix}.2.gate_proj.bias`, `${prefix}.gate_up_proj_bias`)).toEqual([
      {
        tensor: `${prefix}.gate_up_proj_bias`,
        shape: [32, 5760],
        rows: [{ first: 2, count: 1, step: 1 }],
        columns: { first: 0, count: 2880, step: 2 },
        transposed: true,
      },
    ]);
    expect(place(spec, 'model.layers.0.mlp.gate.bias', 'model.layers.0.mlp.router.bias')).toHaveLength(1);
  });

  it('of stacked experts say what lies beside them, as a square matrix does not tell', () => {
    const spec = specOf('gpt-oss-20b');
    const prefix = 'model.layers.0.mlp.experts';
    const [across, rows] = place(spec, `${prefix}.0.down_proj.weight`, `${prefix}.down_proj`);
    expect(across?.shape).toEqual(rows?.shape);
    expect(across?.beside).toEqual({ tensor: `${prefix}.gate_up_proj`, shape: [32, 2880, 5760] });
    expect(rows?.beside).toEqual({ tensor: `${prefix}.gate_up_proj`, shape: [32, 5760, 2880] });
    const nested = place(
      spec,
      `${prefix}.0.down_proj.weight`,
      `${prefix.replace('model.', 'model.language_model.')}.down_proj`,
    );
    expect(nested[0]?.beside?.tensor).toBe('model.language_model.layers.0.mlp.experts.gate_up_proj');
  });

  it('of Qwen3-Next are rows of each key head', () => {
    const spec = specOf('qwen3-next-80b-a3b-instruct');
    const prefix = 'model.layers.0.linear_attn.in_proj_';
    // A key head has 128 rows of queries, 128 of keys, and of its two value heads 256 of values and 256 of gates.
    const [gate] = place(spec, `${prefix}z.weight`, `${prefix}qkvz.weight`);
    expect(gate).toMatchObject({ shape: [12_288, 2048] });
    expect(gate?.rows?.slice(0, 2)).toEqual([
      { first: 512, count: 256, step: 1 },
      { first: 768 + 512, count: 256, step: 1 },
    ]);
    const [mixed] = place(spec, `${prefix}qkv.weight`, `${prefix}qkvz.weight`);
    expect([0, 16, 32].map((i) => mixed?.rows?.[i])).toEqual([
      { first: 0, count: 128, step: 1 },
      { first: 128, count: 128, step: 1 },
      { first: 256, count: 256, step: 1 },
    ]);
    const [decay] = place(spec, `${prefix}a.weight`, `${prefix}ba.weight`);
    expect(decay?.rows?.slice(0, 2)).toEqual([
      { first: 2, count: 2, step: 1 },
      { first: 6, count: 2, step: 1 },
    ]);
  });

  it.each([
    'qwen3-next-80b-a3b-instruct',
    'gpt-oss-20b',
    'ernie-4.5-21b-a3b-pt',
    'minimax-m2',
    'hunyuan-a13b-instruct',
  ])('of %s cover every row of what is stored together exactly once', (name) => {
    const spec = specOf(name);
    const covered = new Map<string, number>();
    for (const expected of expectedTensors(spec).filter(({ name: own }) => own.includes('.layers.0.'))) {
      for (const one of placesOf(expected, spec).filter(({ rows, transposed }) => rows && !transposed)) {
        const count = one.rows!.reduce((sum, rows) => sum + rows.count, 0);
        const key = `${one.tensor} ${one.shape.join(' ')}`;
        covered.set(key, (covered.get(key) ?? 0) + count);
      }
    }
    for (const [key, rows] of covered) {
      const shape = key.split(' ').slice(1).map(Number);
      expect(rows, key).toBe(shape.slice(0, -1).reduce((product, size) => product * size, 1));
    }
  });
});

describe('extra tensors', () => {
  const deepseek = specOf('deepseek-v3');

  it.each([
    'model.layers.61.eh_proj.weight',
    'model.layers.61.embed_tokens.weight',
    'model.layers.61.shared_head.head.weight',
    'model.layers.61.mlp.experts.3.gate_proj.weight',
    'model.language_model.layers.61.enorm.weight',
    'mtp.layers.0.mlp.experts.gate_up_proj',
    'mtp.pre_fc_norm_hidden.weight',
    'model.mtp_block.0.self_attn.q_proj.weight',
    'model.mtp_emb_norm.0.weight',
    'model.layers.4.self_attn.rotary_emb.inv_freq',
    'model.visual.blocks.0.attn.qkv.weight',
  ])('%s is one of a model of 61 layers', (name) => {
    const parts = ['model.layers.61.enorm.weight', 'model.language_model.layers.61.enorm.weight'];
    expect(isExtraTensor(name, deepseek, (other) => parts.includes(other))).toBe(true);
  });

  it('are not in a layer like those before it: the model has more than config.json says', () => {
    const has = (other: string): boolean => other === 'model.layers.62.eh_proj.weight';
    expect(isExtraTensor('model.layers.61.self_attn.o_proj.weight', deepseek, has)).toBe(false);
    expect(isExtraTensor('model.layers.62.self_attn.o_proj.weight', deepseek, has)).toBe(true);
  });

  it.each([
    'model.layers.60.eh_proj.weight',
    'model.layers.0.mlp.gate.weight',
    'model.layers.6.self_attn.something.weight',
    'lm_head.weight',
    'model.norm.weight',
    'model.mtp.weight',
    'layers.61.weight',
  ])('%s is none', (name) => {
    expect(isExtraTensor(name, deepseek, () => true)).toBe(false);
  });

  it('are none of the tensors that a model reads', () => {
    for (const name of ['deepseek-v3', 'qwen3.5-35b-a3b', 'gpt-oss-20b', 'ernie-4.5-0.3b-pt']) {
      const spec = specOf(name);
      const places = expectedTensors(spec).flatMap((expected) => placesOf(expected, spec));
      expect(places.filter(({ tensor: stored }) => isExtraTensor(stored, spec, () => true))).toEqual([]);
    }
  });
});
