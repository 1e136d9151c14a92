import { describe, expect, it } from 'vitest';
import { releasedConfig, releasedModels } from '../../test/fixtures/released-models.ts';
import { readModelSpec } from '../models/families.ts';
import { legalRankCounts } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type Deployment, deploymentsOf } from './deployment.ts';

function specOf(name: string): ModelSpec {
  return readModelSpec(releasedConfig(name));
}

const known = new Map<string, readonly Deployment[]>();

function deployment(name: string, ranks: number): Deployment {
  const all = known.get(name) ?? deploymentsOf(specOf(name));
  known.set(name, all);
  const found = all.find((one) => one.ranks === ranks);
  if (!found) throw new Error(`${name} cannot be cut for ${ranks} ranks`);
  return found;
}

/** GiB of a rank in bf16, FP8 and int4, computed apart from this code with the formulas of docs/architecture.md. */
const weights: readonly (readonly [name: string, ranks: number, gib: readonly [number, number, number]])[] = [
  ['deepseek-v3', 1, [1249.9, 626.9, 324.9]],
  ['deepseek-v3', 2, [625.9, 314.0, 162.8]],
  ['deepseek-v3', 4, [313.9, 157.5, 81.7]],
  ['deepseek-v3', 8, [157.9, 79.3, 41.2]],
  ['deepseek-v3', 16, [79.9, 40.2, 20.9]],
  ['qwen3-235b-a22b', 1, [437.9, 220.2, 114.7]],
  ['qwen3-235b-a22b', 2, [219.0, 110.2, 57.4]],
  ['qwen3-235b-a22b', 4, [109.5, 55.1, 28.7]],
  ['qwen3-235b-a22b', 8, [54.9, 27.7, 14.4]],
  ['qwen3-235b-a22b', 16, [27.6, 13.9, 7.3]],
  ['glm-4.6', 1, [657.1, 330.2, 171.7]],
  ['glm-4.6', 2, [328.6, 165.2, 85.9]],
  ['glm-4.6', 4, [164.4, 82.6, 43.0]],
  ['glm-4.6', 8, [82.3, 41.4, 21.6]],
  ['glm-4.6', 16, [41.3, 20.8, 10.9]],
  ['ernie-4.5-300b-a47b-pt', 1, [557.8, 280.6, 146.2]],
  ['ernie-4.5-300b-a47b-pt', 2, [278.9, 140.3, 73.1]],
  ['ernie-4.5-300b-a47b-pt', 4, [139.5, 70.2, 36.6]],
  ['ernie-4.5-300b-a47b-pt', 8, [69.8, 35.1, 18.3]],
  ['ernie-4.5-300b-a47b-pt', 16, [35.0, 17.6, 9.2]],
  ['deepseek-v3.2', 1, [1251.5, 627.7, 325.4]],
  ['deepseek-v3.2', 8, [159.5, 80.1, 41.6]],
  ['deepseek-v2-lite', 1, [29.3, 15.0, 8.1]],
  ['deepseek-v2-lite', 8, [3.7, 1.9, 1.0]],
  ['qwen3-30b-a3b', 1, [56.9, 29.0, 15.5]],
  ['qwen3-30b-a3b', 8, [7.2, 3.7, 2.0]],
  ['glm-4.5-air', 1, [199.0, 100.7, 53.1]],
  ['glm-4.5-air', 8, [24.9, 12.6, 6.7]],
  ['glm-5', 1, [1385.6, 694.9, 360.0]],
  ['glm-5', 8, [176.6, 88.7, 46.0]],
  ['glm-5.2', 1, [1384.6, 694.4, 359.8]],
  ['glm-5.2', 8, [175.6, 88.2, 45.8]],
  ['glm-4.7-flash', 1, [55.8, 28.5, 15.3]],
  ['ernie-4.5-21b-a3b-pt', 1, [40.7, 20.6, 10.9]],
  ['kimi-k2-instruct', 1, [1911.8, 958.5, 496.4]],
  ['kimi-k2-instruct', 8, [240.8, 120.8, 62.7]],
  ['minimax-m2', 1, [426.0, 214.2, 111.6]],
  ['minimax-m2', 8, [53.3, 26.9, 14.0]],
  ['hunyuan-a13b-instruct', 1, [149.7, 75.4, 39.3]],
  ['hunyuan-a13b-instruct', 8, [18.7, 9.4, 4.9]],
];

describe('a deployment', () => {
  it.each(weights)(
    '%s on %i ranks takes as much a rank as was computed apart, to half a percent',
    (name, ranks, gib) => {
      const { weightBytes } = deployment(name, ranks);
      for (const [i, format] of (['bf16', 'fp8', 'int4'] as const).entries()) {
        // One digit after the point is all that the figures have.
        expect(Math.abs(weightBytes[format] / 2 ** 30 - gib[i]!), format).toBeLessThan(0.05 + 0.005 * gib[i]!);
      }
    },
  );

  it.each(releasedModels)(
    '$name: adds to the cache what a token has in every layer',
    ({ name, cacheBytes, indexBytes }) => {
      const [one, eight] = cacheBytes;
      expect(deployment(name, 1)).toMatchObject({ kvBytesPerToken: one, indexBytesPerToken: indexBytes ?? 0 });
      if (eight === undefined) return expect(legalRankCounts(specOf(name))).not.toContain(8);
      expect(deployment(name, 8)).toMatchObject({ kvBytesPerToken: eight, indexBytesPerToken: indexBytes ?? 0 });
    },
  );

  it('of a model with delta nets keeps a state a sequence, cut with the heads', () => {
    const state = (name: string, ranks: number): number => deployment(name, ranks).stateBytesPerSequence / 2 ** 20;
    // 36 layers of 2 MiB, 30 of 2 MiB, 45 of 4 MiB, and three inputs of every channel of the convolution.
    expect(state('qwen3-next-80b-a3b-instruct', 1)).toBe(72 + (36 * 3 * 8192 * 4) / 2 ** 20);
    expect(state('qwen3.5-35b-a3b', 1)).toBe(60 + (30 * 3 * 8192 * 4) / 2 ** 20);
    expect(state('qwen3.5-397b-a17b', 8)).toBe((180 + (45 * 3 * 12_288 * 4) / 2 ** 20) / 8);
    expect(state('deepseek-v3', 1)).toBe(0);
  });
});

describe('sharing experts', () => {
  const choice = (name: string, ranks: number, format: 'bf16' | 'fp8') => deployment(name, ranks).experts?.[format];

  it('slices them at borders of blocks', () => {
    expect(choice('deepseek-v3', 8, 'fp8')).toEqual({
      split: 'sliced',
      share: '256 of 2048 columns',
      why: 'slices are whole blocks of 128',
    });
  });

  it('spreads them where a slice would cut a block', () => {
    expect(choice('deepseek-v3', 32, 'fp8')).toEqual({
      split: 'spread',
      share: '8 of 256 experts',
      why: '2048 columns / 32 would cut blocks of 128',
    });
    expect(choice('deepseek-v3', 32, 'bf16')).toEqual({
      split: 'sliced',
      share: '64 of 2048 columns',
      why: 'columns divide evenly',
    });
  });

  /** Of every model the largest power of two at which every sliced expert is whole blocks of 128. */
  it.each([
    ['deepseek-v2-lite', 1],
    ['deepseek-v3', 16],
    ['kimi-k2-instruct', 16],
    ['glm-5', 16],
    ['glm-4.7-flash', 4],
    ['qwen3-30b-a3b', 2],
    ['qwen3-235b-a22b', 4],
    ['qwen3-next-80b-a3b-instruct', 4],
    ['qwen3.5-397b-a17b', 8],
    ['glm-4.5', 4],
    ['glm-4.5-air', 1],
    ['ernie-4.5-21b-a3b-pt', 4],
    ['ernie-4.5-300b-a47b-pt', 4],
    ['minimax-m2', 4],
    ['gpt-oss-20b', 1],
    ['mixtral-8x7b-instruct-v0.1', 16],
    ['hunyuan-a13b-instruct', 8],
  ])('%s: from more than %i ranks on', (name, most) => {
    const counts = legalRankCounts(specOf(name)).filter((count) => count > 1 && Number.isInteger(Math.log2(count)));
    const sliced = counts.filter((count) => choice(name, count, 'fp8')?.split === 'sliced');
    const couldSpread = counts.filter((count) => count > most && experts(name) % count === 0);
    expect(sliced.filter((count) => count <= most)).toEqual(counts.filter((count) => count <= most));
    expect(sliced.filter((count) => couldSpread.includes(count))).toEqual([]);
  });

  function experts(name: string): number {
    const mlp = specOf(name).layers.at(-1)!.mlp;
    return mlp.kind === 'experts' ? mlp.experts : 0;
  }

  it('says why it slices all the same', () => {
    // gpt-oss on 64 ranks: 2880 columns are 45 a rank, and 32 experts are fewer than ranks.
    expect(choice('gpt-oss-20b', 64, 'fp8')).toEqual({
      split: 'sliced',
      share: '45 of 2880 columns',
      why: '2880 columns / 64 would cut blocks of 128, but 32 experts do not divide by 64',
    });
  });

  it('says nothing of dense models and of one rank', () => {
    expect(deployment('qwen3-0.6b', 2)).not.toHaveProperty('experts');
    expect(deployment('deepseek-v3', 1)).not.toHaveProperty('experts');
  });
});
