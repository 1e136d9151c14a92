import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inNewSpelling, inOldSpelling, type Json } from '../../test/fixtures/config-spelling.ts';
import { releasedConfig, releasedConfigs, releasedModels } from '../../test/fixtures/released-models.ts';
import { expectedTensors } from './expected-tensors.ts';
import { readModelSpec } from './families.ts';
import { legalRankCounts, rankCounts } from './shard.ts';
import type { ModelSpec } from './spec.ts';

function specOf(name: string): ModelSpec {
  return readModelSpec(releasedConfig(name));
}

function parametersOf(spec: ModelSpec): number {
  const sizes = expectedTensors(spec).map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe('the config of a released model', () => {
  it('is known of every file', () => {
    expect(releasedModels.map(({ name }) => name).sort()).toEqual([...releasedConfigs].sort());
  });

  it.each(releasedModels)('$name: has the family and the parameters that are published', (model) => {
    const spec = specOf(model.name);
    expect([spec.family, parametersOf(spec)]).toEqual([model.family, model.parameters]);
  });

  it.each(releasedModels)('$name: can be cut for the rank counts that divide heads, or says why not', (model) => {
    const { headCounts, forbidden = [] } = model;
    const spec = specOf(model.name);
    const legal = legalRankCounts(spec).filter((count) => count <= 32);
    expect(legal).toEqual(headCounts.filter((count) => !forbidden.includes(count)).sort((a, b) => a - b));
    for (const count of forbidden) expect(rankCounts(spec).get(count)).toMatch(/width \d+ (does not )?divide/);
  });

  it.each(releasedConfigs)('%s: is the same in the spelling of transformers 4 and of 5', (name) => {
    const config = releasedConfig(name);
    const spec = readModelSpec(config);
    expect(readModelSpec(inOldSpelling(config))).toEqual(spec);
    expect(readModelSpec(inNewSpelling(config))).toEqual(spec);
    expect(readModelSpec(inOldSpelling(inNewSpelling(config)))).toEqual(spec);
  });
});

/** What it takes to say the same in other words: fields in another order, with null for what is not there, under other names. */
const rewrites: readonly ((fields: Json) => Json)[] = [
  (fields) => Object.fromEntries(Object.entries(fields).reverse()),
  (fields) => ({ ...fields, some_field_of_tomorrow: null }),
  (fields) => renamed(fields, ['num_experts', 'num_local_experts', 'n_routed_experts', 'moe_num_experts']),
  (fields) => renamed(fields, ['num_experts_per_tok', 'experts_per_token', 'moe_k', 'moe_topk']),
  (fields) => ('text_config' in fields ? fields : { model_type: 'any_for_images', text_config: fields }),
  inOldSpelling,
  inNewSpelling,
];

/** The field that is there under the next of these names, and under its own. */
function renamed(fields: Json, names: readonly string[]): Json {
  const at = names.findIndex((name) => name in fields);
  return at === -1 ? fields : { ...fields, [names[(at + 1) % names.length]!]: fields[names[at]!] };
}

describe('saying the same in other words', () => {
  it('changes nothing', () => {
    const property = fc.property(
      fc.constantFrom(...releasedConfigs),
      fc.array(fc.constantFrom(...rewrites), { maxLength: 5 }),
      (name, steps) => {
        const config = releasedConfig(name);
        expect(readModelSpec(steps.reduce((fields, rewrite) => rewrite(fields), config))).toEqual(
          readModelSpec(config),
        );
      },
    );
    fc.assert(property, { numRuns: 200 });
  });
});

it('a count of chosen experts decides by any name whether one alone is normalised', () => {
  const { num_experts_per_tok: _, ...config } = releasedConfig('deepseek-v2');
  const scaleOf = (chosen: Json): number => {
    const { mlp } = readModelSpec({ ...config, norm_topk_prob: true, ...chosen }).layers[1]!;
    return mlp.kind === 'experts' ? mlp.routing.scale : Number.NaN;
  };
  expect([scaleOf({ moe_k: 1 }), scaleOf({ num_experts_per_tok: 1 })]).toEqual([16, 16]);
  expect([scaleOf({ moe_topk: 6 }), scaleOf({ num_experts_per_tok: 6 })]).toEqual([1, 1]);
});

describe('what some models have of their own', () => {
  it('null of q_lora_rank is a model without that latent; absent, it is an error', () => {
    const config = releasedConfig('deepseek-v2-lite');
    expect(readModelSpec(config).layers[0]!.attention).toMatchObject({ kind: 'latent', queryRank: null });
    const { q_lora_rank: _, ...absent } = config;
    expect(() => readModelSpec(absent)).toThrow('config.json has no field q_lora_rank');
    expect(readModelSpec({ ...config, q_lora_rank: 1536 }).layers[0]!.attention).toMatchObject({ queryRank: 1536 });
  });

  it('YaRN of DeepSeek scales scores by the square of its factor, of gpt-oss angles alone', () => {
    const scale = (name: string): number => {
      const [layer] = specOf(name).layers;
      return layer!.attention.kind === 'latent' ? layer!.attention.scoreScale : Number.NaN;
    };
    expect(scale('deepseek-v3')).toBeCloseTo(0.135234, 6);
    expect(scale('deepseek-v2')).toBeCloseTo(0.114721, 6);
    expect(scale('kimi-k2-instruct')).toBeCloseTo(192 ** -0.5 * 1.81326, 6);
    expect(scale('kimi-k2-thinking')).toBeCloseTo(192 ** -0.5 * 2.00474, 6);
    expect(scale('glm-5')).toBe(256 ** -0.5);
    expect(specOf('gpt-oss-20b').rotary.scaling).toMatchObject({ kind: 'yarn', truncate: false });
    expect(specOf('gpt-oss-20b').rotary.scaling).toHaveProperty('attentionFactor', expect.closeTo(1.346574, 6));
    expect(specOf('deepseek-v3').rotary.scaling).toMatchObject({ truncate: true, attentionFactor: 1 });
  });

  it('Hunyuan has a larger base at every length', () => {
    expect(specOf('hunyuan-a13b-instruct').rotary).toMatchObject({
      theta: expect.closeTo(11_158_839.93, 1),
      scaling: { kind: 'none' },
    });
  });

  it('GLM-5.2 has 21 indexers, whose heads are rotated by 64 of 128 dimensions whatever head_dim says', () => {
    const spec = specOf('glm-5.2');
    const own = spec.layers.flatMap(({ attention }, layer) =>
      attention.kind === 'latent' && attention.indexer?.kind === 'own' ? [layer] : [],
    );
    expect(own).toEqual([0, 1, 2, ...Array.from({ length: 18 }, (_, i) => 6 + 4 * i)]);
    expect(spec.rotary.dims).toBe(64);
    const { indexer_types: _, ...byFrequency } = releasedConfig('glm-5.2');
    expect(readModelSpec(byFrequency)).toEqual(spec);
    const pattern = spec.layers.map((_layer, i) => (own.includes(i) ? 'F' : 'S')).join('');
    expect(readModelSpec({ ...byFrequency, index_topk_freq: 1, index_topk_pattern: pattern })).toEqual(spec);
  });

  it('Qwen3-Next and 3.5 attend in every fourth layer', () => {
    for (const name of ['qwen3-next-80b-a3b-instruct', 'qwen3.5-35b-a3b']) {
      const kinds = specOf(name).layers.map(({ attention }) => attention.kind);
      expect(kinds.slice(0, 8)).toEqual(['delta', 'delta', 'delta', 'grouped', 'delta', 'delta', 'delta', 'grouped']);
      expect(specOf(name)).toMatchObject({ normsAddOne: true, rotary: { dims: 64, pairs: 'halves', theta: 1e7 } });
    }
  });

  it('MiniMax rotates half of each head, ERNIE neighbours of all of it', () => {
    expect(specOf('minimax-m2').rotary).toMatchObject({ dims: 64, pairs: 'halves' });
    expect(specOf('ernie-4.5-300b-a47b-pt').rotary).toMatchObject({ dims: 128, pairs: 'neighbours' });
  });

  it('experts begin where the config says', () => {
    const firstSparse = (name: string): number => specOf(name).layers.findIndex(({ mlp }) => mlp.kind === 'experts');
    const names = ['deepseek-v3', 'kimi-k2-instruct', 'glm-4.5', 'ernie-4.5-300b-a47b-pt', 'qwen3-30b-a3b'];
    expect(names.map(firstSparse)).toEqual([3, 1, 3, 3, 0]);
  });

  it('Llama 2 says neither theta nor head_dim', () => {
    expect(specOf('llama-2-7b')).toMatchObject({ rotary: { theta: 10_000, dims: 128 } });
  });
});
