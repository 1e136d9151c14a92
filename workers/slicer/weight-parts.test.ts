/** A weight has the same bytes whole and in parts, wherever it is cut. */
import { cp } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  goldenCheckpoint,
  goldenFile,
  type TemporaryFolder,
  temporaryFolder,
} from '../../test/fixtures/tiny-checkpoint.ts';
import type { WeightFormat } from '../models/manifest.ts';
import type { Checkpoint } from './checkpoint.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { planRank } from './rank-plan.ts';
import { encodedBytes, encodedIn, WeightEncoder } from './weight-encoder.ts';
import { type PlannedWeight, rangesOf } from './weight-layout.ts';
import { type MatrixWeight, partOf, partsOf } from './weight-parts.ts';

const goldens = [
  'deepseek_v3',
  'quantized/deepseek_v3_fp8_block',
  'quantized/qwen3_moe_gptq_int4',
  'quantized/kimi_k2_int4',
];

describe.each(goldens)('%s', (golden) => {
  let folder: TemporaryFolder;
  let checkpoint: Checkpoint;
  let tensors: ModelTensors;

  beforeAll(async () => {
    folder = golden.startsWith('quantized/') ? await temporaryFolder() : await goldenCheckpoint(golden);
    const model = path.join(folder.path, 'checkpoint');
    if (golden.startsWith('quantized/')) {
      await cp(goldenFile(golden).replace(/[.]json$/, ''), model, { recursive: true });
    }
    checkpoint = await openCheckpoint(model);
    tensors = ModelTensors.find(checkpoint);
  });

  afterAll(async () => {
    await checkpoint[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  async function bytesOf(weight: PlannedWeight): Promise<readonly Uint8Array[]> {
    const memory = new ArrayBuffer(encodedBytes(weight));
    await new WeightEncoder(tensors).encode(weight, memory);
    const { values, scales, zeros } = encodedIn(memory, weight);
    return [values, scales, zeros];
  }

  const planned = (weights: WeightFormat): readonly PlannedWeight[] =>
    planRank(tensors, { weights, activations: 'int8', rank: 1, ranks: 2 }).weights;

  it('has parts that give the whole', async () => {
    const all = (['fp32', 'int4', 'native'] as const)
      .flatMap(planned)
      .filter((weight): weight is MatrixWeight => weight.kind !== 'order');
    const cut = fc.record({
      weight: fc.constantFrom(...all),
      steps: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
    });
    await fc.assert(
      fc.asyncProperty(cut, async ({ weight, steps }) => {
        const whole = await bytesOf(weight);
        const found = whole.map(({ length }) => new Uint8Array(length));
        const { rows } = weight.matrix;
        for (let first = 0, i = 0; first < rows; i++) {
          const count = Math.min(steps[i % steps.length]!, rows - first);
          const part = partOf(weight, { first, count });
          const bytes = await bytesOf(part);
          for (const [index, kind] of (['values', 'scales', 'zeros'] as const).entries()) {
            const [place, start] = [rangesOf(part)[kind]?.offset ?? 0, rangesOf(weight)[kind]?.offset ?? 0];
            found[index]!.set(bytes[index]!, place - start);
          }
          first += count;
        }
        expect(found).toEqual(whole);
      }),
      { numRuns: 60 },
    );
  });

  it('has each weight in parts once, in order', () => {
    for (const weights of ['fp32', 'int4', 'native'] as const) {
      const plan = planned(weights);
      const parts = [...partsOf(plan, tensors)];
      expect([...new Set(parts.map(({ whole }) => whole))]).toEqual(plan);
      for (const { whole, weight } of parts) expect(weight.values).toEqual(whole.values);
    }
  });
});
