/** All logits of a package on given tokens. They are held in memory: for small models and short texts. */
import { blockPositions } from '../../../workers/engine/block-pool.ts';
import { runJob } from '../../../workers/verify/run-job.ts';
import type { LogitsJob, WindowLogits } from './logits-leader.ts';

export interface SlicedModel {
  readonly packagePath: string;
  readonly ranks: number;
}

/** Errors: those of the ranks. */
export async function computeLogits(
  { packagePath, ranks }: SlicedModel,
  windows: readonly Int32Array[],
): Promise<WindowLogits> {
  const longest = Math.max(...windows.map(({ length }) => length));
  const data: LogitsJob = { windows };
  const job = { module: new URL('./logits-leader.ts', import.meta.url).href, data };
  const kvBlocks = Math.ceil(longest / blockPositions);
  const serving = { kvBlocks, maxSequences: 1, stepTokens: longest, maxWaiting: 0, adapters: undefined };
  return (await runJob({ packagePath, ranks, transport: 'threads', serving, job })) as WindowLogits;
}
