/** Slices in a process of its own and tells its peak: slicing-memory-run.ts CHECKPOINT OUT WEIGHTS RANKS */
import type { WeightFormat } from '../../workers/models/manifest.ts';
import { slice } from '../../workers/slicer/slice.ts';

export interface SlicingMemoryRun {
  readonly seconds: number;
  /** The most that was resident at a time. */
  readonly peakBytes: number;
}

const [model = '', out = '', weights = '', ranks = ''] = process.argv.slice(2);
const start = performance.now();
await slice({ model, out, weights: weights as WeightFormat, ranks: Number(ranks) });
const seconds = (performance.now() - start) / 1000;
// maxRSS is in kB on every platform.
const peakBytes = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ seconds, peakBytes } satisfies SlicingMemoryRun));
