/** Packages compute what the reference implementation computes, for every way of cutting them. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { RankPieces } from '../../test/fixtures/package-pieces.ts';
import { slowForward } from '../../test/fixtures/slow-forward.ts';
import {
  changeConfig,
  changeTensors,
  goldenCheckpoint,
  goldenFile,
  temporaryFolder,
} from '../../test/fixtures/tiny-checkpoint.ts';
import type { WeightFormat } from '../models/manifest.ts';
import { slice } from './slice.ts';

interface Golden {
  readonly prompt: readonly number[];
  readonly logits: Readonly<Record<string, readonly number[]>>;
  readonly logits_std: number;
  readonly argmax: readonly number[];
}

function readGolden(name: string): Golden {
  return JSON.parse(readFileSync(goldenFile(name), 'utf8'));
}

const folders = new Map<string, Awaited<ReturnType<typeof goldenCheckpoint>>>();

async function checkpointOf(name: string): Promise<string> {
  const known = folders.get(name) ?? (await goldenCheckpoint(name));
  folders.set(name, known);
  return known.checkpoint;
}

afterAll(async () => {
  for (const folder of folders.values()) await folder[Symbol.asyncDispose]();
});

/** Slices and runs. Logits are [tokens, vocabulary]. */
async function logitsOf(model: string, ranks: number, weights: WeightFormat, tokens: readonly number[]) {
  await using folder = await temporaryFolder();
  const out = path.join(folder.path, 'package');
  const manifest = await slice({ model, out, ranks, weights });
  const pieces = manifest.shards.map(({ rank }) => new RankPieces(out, manifest, rank));
  try {
    return slowForward(pieces, tokens);
  } finally {
    for (const rank of pieces) rank[Symbol.dispose]();
  }
}

/** Largest difference to the golden's logits, in units of their standard deviation. */
function distance(logits: Float32Array, golden: Golden): number {
  const width = logits.length / golden.prompt.length;
  const differences = Object.entries(golden.logits).flatMap(([position, row]) =>
    row.map((value, i) => Math.abs(value - logits[Number(position) * width + i]!)),
  );
  return Math.max(...differences) / golden.logits_std;
}

function bestTokens(logits: Float32Array, rows: number): number[] {
  const width = logits.length / rows;
  return Array.from({ length: rows }, (_, row) => {
    const values = logits.subarray(row * width, (row + 1) * width);
    return values.indexOf(Math.max(...values));
  });
}

describe('a package in float32', () => {
  const cuts: readonly (readonly [string, number])[] = [
    ['llama', 1],
    ['llama', 2],
    ['llama', 4],
    ['llama', 8],
    ['qwen3_moe', 1],
    ['qwen3_moe', 2],
    ['qwen3_moe', 4],
    ['qwen3_moe', 8],
    ['smollm2', 1],
    ['smollm2', 3],
    ['smollm2', 6],
  ];

  it.each(cuts)('has the reference logits: %s on %i ranks', async (name, ranks) => {
    const golden = readGolden(name);
    const logits = await logitsOf(await checkpointOf(name), ranks, 'fp32', golden.prompt);
    expect(distance(logits, golden)).toBeLessThan(2e-5);
    expect(bestTokens(logits, golden.prompt.length)).toEqual(golden.argmax);
  });

  it('has the reference logits: the demo model on 2 ranks', async () => {
    const golden = readGolden('demo');
    const model = path.join(import.meta.dirname, '..', '..', 'models', 'demo');
    const logits = await logitsOf(model, 2, 'native', golden.prompt);
    expect(distance(logits, golden)).toBeLessThan(2e-5);
  });
});

describe('a package in fewer bits', () => {
  it.each([
    ['int8', 0.2],
    ['int4', 2.5],
  ] as const)('stays near the reference in %s, on one rank and on several', async (weights, limit) => {
    const golden = readGolden('qwen3_moe');
    const model = await checkpointOf('qwen3_moe');
    for (const ranks of [1, 4]) {
      const logits = await logitsOf(model, ranks, weights, golden.prompt);
      expect(distance(logits, golden)).toBeLessThan(limit);
    }
  });
});

describe('biases', () => {
  it('count once, whatever the number of ranks', async () => {
    await using folder = await goldenCheckpoint('llama');
    const { checkpoint } = folder;
    await changeConfig(checkpoint, { attention_bias: true, mlp_bias: true });
    await changeTensors(checkpoint, (tensors) => [
      ...tensors,
      ...tensors
        .filter(({ name }) => name.includes('_proj.'))
        .map(({ name, shape }, seed) => {
          const bias = Float32Array.from({ length: shape[0]! }, (_, i) => Math.sin(i * 7 + seed));
          return {
            name: name.replace('weight', 'bias'),
            dtype: 'F32',
            shape: [bias.length],
            bytes: new Uint8Array(bias.buffer),
          };
        }),
    ]);
    const { prompt, logits_std: unit } = readGolden('llama');
    const without = await logitsOf(await checkpointOf('llama'), 1, 'fp32', prompt);
    const alone = await logitsOf(checkpoint, 1, 'fp32', prompt);
    const together = await logitsOf(checkpoint, 4, 'fp32', prompt);
    const most = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) / unit;
    expect(most(alone, without)).toBeGreaterThan(0.5);
    expect(most(alone, together)).toBeLessThan(2e-5);
  });
});
