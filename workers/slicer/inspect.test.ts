import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { releasedConfig } from '../../test/fixtures/released-models.ts';
import { goldenCheckpoint } from '../../test/fixtures/tiny-checkpoint.ts';
import { inspect } from './inspect.ts';
import { slice } from './slice.ts';

let folder: Awaited<ReturnType<typeof goldenCheckpoint>>;
let model: string;
let out: string;

beforeAll(async () => {
  folder = await goldenCheckpoint('qwen3_moe');
  model = folder.checkpoint;
  out = path.join(folder.path, 'package');
});

afterAll(() => folder[Symbol.asyncDispose]());

describe('inspecting', () => {
  it('tells of a checkpoint what each rank would hold', async () => {
    const inspection = await inspect(model);
    expect(inspection).toMatchObject({
      kind: 'checkpoint',
      name: 'checkpoint',
      storedTypes: ['BF16'],
      model: { family: 'qwen3_moe', layers: 3, hiddenSize: 64, legalRankCounts: [1, 2, 4, 8] },
    });
    if (inspection.kind !== 'checkpoint') throw new Error('not a checkpoint');
    expect(inspection.storedBytes).toBe(2 * inspection.model.parameters);
    // 3 layers, keys and values, 2 heads of 16, float32; from 2 ranks on one head.
    expect(inspection.estimates.map(({ ranks, kvBytesPerToken }) => [ranks, kvBytesPerToken])).toEqual([
      [1, 768],
      [2, 384],
      [4, 384],
      [8, 384],
    ]);
  });

  it('tells of a package what each rank holds', async () => {
    const manifest = await slice({ model, out, ranks: 2, weights: 'int8' });
    const inspection = await inspect(out);
    expect(inspection).toMatchObject({ kind: 'package', weights: 'int8', ranks: 2, provenance: manifest.provenance });
    if (inspection.kind !== 'package') throw new Error('not a package');
    expect(inspection.shards.map(({ weightBytes }) => weightBytes)).toEqual(
      manifest.shards.map(({ weightBytes }) => weightBytes),
    );
    expect(inspection.shards[0]).toMatchObject({ kvBytesPerToken: 384 });
  });

  it('tells of a config alone what ranks would hold, and why other counts are refused', async () => {
    const bare = path.join(folder.path, 'config-only');
    await mkdir(bare);
    await writeFile(path.join(bare, 'config.json'), JSON.stringify(releasedConfig('ernie-4.5-21b-a3b-pt')));
    const inspection = await inspect(bare);
    expect(inspection).toMatchObject({
      kind: 'config',
      name: 'config-only',
      model: { family: 'ernie4_5_moe', parameters: 21_825_437_888, legalRankCounts: [1, 2, 4] },
    });
    if (inspection.kind !== 'config') throw new Error('not a config');
    expect(inspection.deployments.map(({ ranks }) => ranks)).toEqual([1, 2, 4]);
    const refused = new Map(inspection.model.refusedRankCounts.map(({ ranks, reason }) => [ranks, reason]));
    expect([...refused.keys()]).toEqual([3, ...Array.from({ length: 16 }, (_, i) => 5 + i)]);
    expect(refused.get(3)).toBe('20 query heads do not divide by 3');
    expect(refused.get(5)).toBe('4 KV heads can neither be divided nor replicated evenly among 5');
    expect(refused.get(20)).toBe('an MLP of width 12288 does not divide by 20');
  });

  it('refuses a folder that is neither', async () => {
    await expect(inspect(folder.path)).rejects.toMatchObject({ code: 'NOT_A_CHECKPOINT' });
  });
});
