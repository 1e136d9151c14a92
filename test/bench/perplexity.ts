/** Perplexity of the demo model on its held-out text, in each weight format: what quantising costs in quality. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { slice } from '../../workers/slicer/slice.ts';
import { measurePerplexity } from '../../workers/verify/perplexity.ts';
import { root } from './measure.ts';

const model = path.join(root, 'models', 'demo');
const ranks = 2;

/** The same on every run, so one is enough. */
export async function benchPerplexity(): Promise<object> {
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-perplexity-'));
  const results: Record<string, number> = {};
  try {
    for (const weights of ['fp32', 'int8', 'int4'] as const) {
      const packagePath = path.join(folder, weights);
      await slice({ model, out: packagePath, ranks, weights });
      const text = path.join(model, 'heldout.txt');
      const { perplexity, predicted } = await measurePerplexity({ packagePath, text, ranks });
      results[weights] = perplexity;
      console.log(`${weights}: perplexity ${perplexity.toFixed(3)} over ${predicted} tokens`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { ranks, results };
}
