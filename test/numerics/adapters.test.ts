/** Adapters beside the base model, each as exact as if it were merged in, and none of them felt by the rows beside it. */
import path from 'node:path';
import { expect, test } from 'vitest';
import { PeftAdapter } from '../../workers/adapters/peft-adapter.ts';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { readManifest, shardFor } from '../../workers/rank/package.ts';
import { RankTeam } from '../../workers/rank/rank-team.ts';
import { slice } from '../../workers/slicer/slice.ts';
import { type AdapterShape, mergeAdapter, writeAdapter } from '../fixtures/made-adapter.ts';
import { goldenCheckpoint, temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import type { AdapterJob, AdapterLogits } from './adapter-leader.ts';
import { openGate } from './unruly-leader.ts';

const module = new URL('./adapter-leader.ts', import.meta.url).href;
const prompt = Array.from({ length: 24 }, (_, i) => 4 + ((i * 37) % 500));
const places = 3;
const mostRank = 8;

/** Logits with the adapters of these folders in the places 0, 1, ..., and before them without any. */
async function run(packagePath: string, folders: readonly string[]): Promise<AdapterLogits> {
  const manifest = readManifest(packagePath);
  const ranks = manifest.shards.length;
  const over = Promise.withResolvers<unknown>();
  let logits: AdapterLogits | undefined;
  const data: AdapterJob = { gate: new SharedArrayBuffer(4), prompt, adapters: [null, ...folders.keys()] };
  const adapters = folders.length === 0 ? undefined : { folder: '', places, rank: mostRank };
  const team = await RankTeam.start({
    packagePath,
    ranks,
    localRanks: manifest.shards.map(({ rank }) => rank),
    serving: { kvBlocks: 16, maxSequences: 4, stepTokens: 128, maxWaiting: 0, adapters },
    job: { module, data },
    events: {
      onProgress: () => {},
      onResult: (value) => {
        logits = value as AdapterLogits;
      },
      onOver: over.resolve,
      onStuck: over.reject,
    },
  });
  for (const [place, folder] of folders.entries()) {
    const adapter = await PeftAdapter.read(folder, manifest.spec, mostRank);
    for (const [rank, memory] of team.adapters) {
      memory.write(place, shardFor(manifest, rank, ranks), (matrix) => adapter.sliceOf(matrix));
    }
  }
  openGate(data.gate);
  expect(await over.promise).toBeUndefined();
  await team.end();
  return logits!;
}

const all =
  /(self_attn[.](q|k|v|o|q_a|q_b)_proj|kv_a_proj_with_mqa|linear_attn[.](in_proj_qkv|in_proj_z|out_proj)|mlp[.](gate|up|down)_proj|mlp[.]shared_experts?[.](gate|up|down)_proj)[.]weight$/;
const shapes: readonly AdapterShape[] = [
  { seed: 11, rank: 4, alpha: 8, targets: all },
  { seed: 99, rank: 8, alpha: 4, targets: /(q|o|down)_proj[.]weight$|in_proj_z[.]weight$/ },
];

function largest(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return Math.max(...a.flatMap((row, i) => Array.from(row, (value, j) => Math.abs(value - b[i]![j]!))));
}

function deviation(rows: readonly Float32Array[]): number {
  const values = rows.flatMap((row) => [...row]);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

const cases = ['llama', 'qwen3_moe', 'deepseek_v3', 'qwen3_5_moe', 'glm4_moe'].flatMap((golden) =>
  [1, 2].map((ranks) => [golden, ranks] as const),
);

test.each(cases)(
  '%s on %i ranks: adapters give what merging gives, whatever runs beside them',
  async (golden, ranks) => {
    await using checkpoint = await goldenCheckpoint(golden);
    await using scratch = await temporaryFolder();
    const at = (name: string): string => path.join(scratch.path, name);
    const sliced = async (model: string, name: string, weights: WeightFormat = 'fp32'): Promise<string> => {
      await slice({ model, out: at(name), ranks, weights });
      return at(name);
    };
    const folders = shapes.map((_, i) => at(`adapter-${i}`));
    const merged: string[] = [];
    for (const [i, shape] of shapes.entries()) {
      // The second does not touch experts either: their down projections are named alike.
      const targets =
        golden === 'llama' ? shape.targets : new RegExp(`^(?!.*experts[.]\\d).*(${shape.targets.source})`);
      await writeAdapter(checkpoint.checkpoint, folders[i]!, { ...shape, targets });
      await mergeAdapter(checkpoint.checkpoint, at(`checkpoint-${i}`), { ...shape, targets });
      merged.push(await sliced(at(`checkpoint-${i}`), `merged-${i}`));
    }
    const base = await sliced(checkpoint.checkpoint, 'base');
    const adapted = await run(base, folders);
    const plain = (await run(base, [])).alone[0]!;
    const unit = deviation(plain);
    expect(adapted.alone[0]).toEqual(plain);
    for (const [i, folder] of merged.entries()) {
      const expected = (await run(folder, [])).alone[0]!;
      expect(largest(adapted.alone[i + 1]!, expected) / deviation(expected)).toBeLessThan(1e-4);
      expect(largest(adapted.alone[i + 1]!, plain) / unit).toBeGreaterThan(0.1);
    }
    expect(adapted.chunked).toEqual(adapted.alone);
    expect(adapted.together).toEqual(adapted.alone);
    // On a quantised base the same holds for the bits; what it adds is the same.
    const quantised = await run(await sliced(checkpoint.checkpoint, 'int4', 'int4'), folders);
    expect(quantised.chunked).toEqual(quantised.alone);
    expect(quantised.together).toEqual(quantised.alone);
  },
);
