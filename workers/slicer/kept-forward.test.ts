/**
 * A package of kept integers computes what one of the exactly dequantised weights does: for every format, for groups of every size, in any
 * order, and for cuts that fall inside a group. Rows are multiplied in float32, so that nothing else differs.
 */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { blockConfigs, blockModel } from '../../test/fixtures/block-model.ts';
import { blockTypes } from '../../test/fixtures/ggml-blocks.ts';
import { RankPieces } from '../../test/fixtures/package-pieces.ts';
import { repackedCheckpoint, type Storage } from '../../test/fixtures/repacked-checkpoint.ts';
import { slowForward } from '../../test/fixtures/slow-forward.ts';
import { changeTensors, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { rankWeightBytes } from './rank-bytes.ts';
import { type SliceOptions, slice } from './slice.ts';

async function logitsOf(model: string, options: Omit<SliceOptions, 'model' | 'out'>) {
  await using folder = await temporaryFolder();
  const out = path.join(folder.path, 'package');
  const manifest = await slice({ ...options, model, out });
  const pieces = manifest.shards.map(({ rank }) => new RankPieces(out, manifest, rank));
  try {
    const tokens = Array.from({ length: 20 }, (_, i) => 5 + ((i * 37) % 500));
    return { logits: slowForward(pieces, tokens), manifest };
  } finally {
    for (const rank of pieces) rank[Symbol.dispose]();
  }
}

function largestDifference(a: Float32Array, b: Float32Array): number {
  const deviation = Math.sqrt(a.reduce((sum, value) => sum + value * value, 0) / a.length);
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0) / deviation;
}

/** In all: 12 of attention, 3 of the MLP, 48 of experts, the output projection. */
const cases: readonly (readonly [Storage, number, string, RegExp])[] = [
  [
    { method: 'gptq', group: 32 },
    1,
    'sliced',
    /integers of 64 matrices kept as stored; other weights float32, exactly/,
  ],
  [{ method: 'gptq', group: 32 }, 4, 'sliced', /integers of 256 matrices kept as stored; other/],
  [{ method: 'gptq', group: 16 }, 2, 'sliced', /integers of 128 matrices kept as stored; other/],
  [{ method: 'awq', group: 128 }, 1, 'sliced', /integers of 64 matrices kept as stored, scales of 64 repeated/],
  [{ method: 'awq', group: 128 }, 4, 'sliced', /integers of 256 matrices kept as stored, scales of 256 repeated/],
  [{ method: 'awq', group: 64 }, 8, 'spread', /integers of 176 matrices kept as stored, scales of 176 repeated/],
  [{ method: 'compressed-tensors', group: 48 }, 2, 'sliced', /integers of 128 matrices kept as stored, scales of 128/],
  [
    { method: 'compressed-tensors', group: -1 },
    2,
    'sliced',
    /from BF16, INT4 group 128, INT4 group 256: integers of 128/,
  ],
  [{ method: 'gptq', group: 24 }, 1, 'sliced', /from BF16, GPTQ INT4 group 24: float32, exactly$/],
  [{ method: 'gptq', group: 32, scattered: true }, 1, 'spread', /integers of 64 matrices kept as stored; other/],
  [
    { method: 'gptq', group: 32, scattered: true },
    2,
    'spread',
    /kept as stored, 8 dequantised that a cut or a product asks for/,
  ],
  [{ method: 'compressed-tensors', group: 64, scattered: true }, 4, 'spread', /16 dequantised/],
];

describe('kept integers', () => {
  it.each(cases)('of %j on %i ranks compute what they mean', async (storage, ranks, experts, quantisation) => {
    await using folder = await temporaryFolder();
    const model = await repackedCheckpoint(folder.path, storage);
    const exact = await logitsOf(model, { ranks: 1, weights: 'fp32' });
    const kept = await logitsOf(model, { ranks, weights: 'native', activations: 'fp32' });
    expect(largestDifference(exact.logits, kept.logits)).toBeLessThan(2e-5);
    expect(kept.manifest.experts).toBe(experts);
    expect(kept.manifest.provenance.quantisation).toMatch(quantisation);
    await using checkpoint = await openCheckpoint(model);
    const tensors = ModelTensors.find(checkpoint);
    for (const { rank, weightBytes, pieces } of kept.manifest.shards) {
      const computed = rankWeightBytes(tensors, 'native', { rank, ranks });
      expect(weightBytes).toBeGreaterThanOrEqual(computed);
      expect(weightBytes).toBeLessThan(computed + 64 * 15 * Object.keys(pieces).length);
    }
  });

  it('are near it with rows in int8', async () => {
    await using folder = await temporaryFolder();
    const model = await repackedCheckpoint(folder.path, { method: 'awq', group: 128 });
    const exact = await logitsOf(model, { ranks: 1, weights: 'fp32' });
    const served = await logitsOf(model, { ranks: 2, weights: 'int4' });
    const difference = largestDifference(exact.logits, served.logits);
    expect(difference).toBeGreaterThan(1e-3);
    expect(difference).toBeLessThan(0.6);
    expect(served.manifest.provenance.quantisation).toMatch(
      /kept as stored.*other weights int4 symmetric.*products in int8/,
    );
  });

  it('are dequantised for fp32 and int8', async () => {
    await using folder = await temporaryFolder();
    const model = await repackedCheckpoint(folder.path, { method: 'gptq', group: 32 });
    const { manifest } = await logitsOf(model, { ranks: 1, weights: 'int8' });
    expect(manifest.provenance.quantisation).toMatch(/^from BF16, GPTQ INT4 group 32: int8 symmetric, block 32/);
    expect(manifest.activations).toBe('int8');
    const float = await logitsOf(model, { ranks: 1, weights: 'fp32' });
    expect(float.manifest.provenance.quantisation).toBe('from BF16, GPTQ INT4 group 32: float32, exactly');
    expect(float.manifest.activations).toBe('fp32');
  });

  it('are refused when an order of activations leaves groups of uneven sizes', async () => {
    await using folder = await temporaryFolder();
    const model = await repackedCheckpoint(folder.path, { method: 'gptq', group: 32, scattered: true });
    await changeTensors(model, (tensors) =>
      tensors.map((tensor) => {
        if (!tensor.name.endsWith('layers.1.mlp.up_proj.g_idx')) return tensor;
        return { ...tensor, bytes: new Uint8Array(tensor.bytes.length) };
      }),
    );
    const out = path.join(folder.path, 'package');
    await expect(slice({ model, out, ranks: 1, weights: 'native' })).rejects.toMatchObject({
      code: 'INVALID_CHECKPOINT',
      message: expect.stringMatching(/groups of model.layers.1.mlp.up_proj.weight have not 32 columns each/),
    });
    expect((await slice({ model, out, ranks: 1, weights: 'fp32' })).weights).toBe('fp32');
  });
});

describe('blocks of a GGUF file', () => {
  it.each([
    [
      'llama',
      'Q4_0',
      'native',
      1,
      /^from F32, Q4_0: integers of 15 matrices kept as stored, 1 dequantised that .*; other/,
    ],
    ['qwen3_moe', 'Q4_0', 'native', 2, /^from F32, Q4_0: integers of 42 matrices kept as stored, 4 dequantised/],
    ['llama', 'Q8_0', 'native', 1, /^from F32, Q8_0: integers of 15 matrices kept as stored, 1 dequantised/],
    ['qwen3_moe', 'Q8_0', 'int8', 2, /^from F32, Q8_0: integers of 42 matrices kept as stored, 4 dequantised/],
    ['qwen3_moe', 'Q4_1', 'native', 1, /^from F32, Q4_1: float32, exactly$/],
    ['qwen3_moe', 'Q4_K', 'native', 1, /^from F32, Q4_K: float32, exactly$/],
  ] as const)('%s in %s, as %s on %i ranks: integers stay as they are', async (name, type, weights, ranks, words) => {
    await using folder = await temporaryFolder();
    const blocks = blockTypes.find((one) => one.name === type)!;
    const { gguf, floats } = await blockModel(folder.path, blocks, blockConfigs[name]);
    const exact = await logitsOf(floats, { ranks: 1, weights: 'fp32' });
    const kept = await logitsOf(gguf, { ranks, weights, activations: 'fp32' });
    expect(kept.manifest.provenance.quantisation).toMatch(words);
    expect(largestDifference(exact.logits, kept.logits)).toBeLessThan(2e-5);
    await using checkpoint = await openCheckpoint(gguf);
    const tensors = ModelTensors.find(checkpoint);
    for (const { rank, weightBytes, pieces } of kept.manifest.shards) {
      const computed = rankWeightBytes(tensors, weights, { rank, ranks });
      expect(weightBytes).toBeGreaterThanOrEqual(computed);
      expect(weightBytes).toBeLessThan(computed + 64 * 15 * Object.keys(pieces).length);
    }
  });
});
