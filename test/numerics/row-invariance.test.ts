/** The promise behind every replay: a position's logits depend on its own tokens only, to the bit. */
import { expect, test } from 'vitest';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { runJob, type Transport } from '../../workers/verify/run-job.ts';
import { type BitsJob, type BitsResult, bitsServing } from './bits-leader.ts';
import { demoPackage, goldenPackage } from './demo-package.ts';

const demoVocabulary = 2048;
const goldenVocabulary = 509;

async function bits(weights: WeightFormat, ranks: number, transport: Transport): Promise<BitsResult> {
  return bitsOf(await demoPackage(ranks, weights), demoVocabulary, ranks, transport);
}

async function bitsOf(packagePath: string, vocabularySize: number, ranks: number, transport: Transport) {
  const data: BitsJob = { vocabularySize };
  const job = { module: new URL('./bits-leader.ts', import.meta.url).href, data };
  return (await runJob({ packagePath, ranks, transport, serving: bitsServing, job })) as BitsResult;
}

for (const weights of ['fp32', 'int8', 'int4'] as const) {
  for (const ranks of [1, 2, 4]) {
    test(`${weights}, ${ranks} ranks: the bits are the same alone, in batches of 1 to 32 and in any chunks`, async () => {
      const { departures, compared } = await bits(weights, ranks, 'threads');
      expect(departures).toEqual([]);
      expect(compared).toBeGreaterThan(2000);
    });
  }
}

/** Every kind of attention, norm and routing. */
const families = ['deepseek_v3', 'glm_moe_dsa', 'qwen3_next', 'gpt_oss', 'minimax_m2', 'hunyuan_v1_moe'];
for (const golden of families) {
  for (const [weights, ranks] of [
    ['fp32', 1],
    ['int4', 2],
  ] as const) {
    test(`${golden}, ${weights}, ${ranks} ranks: the same`, async () => {
      const packagePath = await goldenPackage(golden, ranks, weights);
      const { departures, compared } = await bitsOf(packagePath, goldenVocabulary, ranks, 'threads');
      expect(departures).toEqual([]);
      expect(compared).toBeGreaterThan(2000);
    });
  }
}

for (const weights of ['fp32', 'int4'] as const) {
  test(`${weights}, 2 ranks: threads and TCP give the same bits`, async () => {
    const [threads, tcp] = [await bits(weights, 2, 'threads'), await bits(weights, 2, 'tcp')];
    expect(tcp.departures).toEqual([]);
    expect(tcp.digest).toBe(threads.digest);
  });
}
