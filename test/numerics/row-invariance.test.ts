/** The promise behind every replay: a position's logits depend on its own tokens only, to the bit. */
import { expect, test } from 'vitest';
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { runJob, type Transport } from '../../workers/verify/run-job.ts';
import { type BitsJob, type BitsResult, bitsServing } from './bits-leader.ts';
import { demoPackage } from './demo-package.ts';

const vocabularySize = 2048;

async function bits(weights: WeightFormat, ranks: number, transport: Transport): Promise<BitsResult> {
  const packagePath = await demoPackage(ranks, weights);
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

for (const weights of ['fp32', 'int4'] as const) {
  test(`${weights}, 2 ranks: threads and TCP give the same bits`, async () => {
    const [threads, tcp] = [await bits(weights, 2, 'threads'), await bits(weights, 2, 'tcp')];
    expect(tcp.departures).toEqual([]);
    expect(tcp.digest).toBe(threads.digest);
  });
}
