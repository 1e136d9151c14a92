import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

  it('refuses a folder that is neither', async () => {
    await expect(inspect(folder.path)).rejects.toMatchObject({ code: 'NOT_A_CHECKPOINT' });
  });
});
