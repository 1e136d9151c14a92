/** How well a package predicts a text: the figure by which quantised weights are set beside float ones. */
import { readFile } from 'node:fs/promises';
import { loadTokenizer } from '#tokenizer/tokenizer.ts';
import { blockPositions } from '../engine/block-pool.ts';
import type { Perplexity, PerplexityJob } from './perplexity-leader.ts';
import { runJob } from './run-job.ts';

export type { Perplexity } from './perplexity-leader.ts';

export interface PerplexityOptions {
  readonly packagePath: string;
  /** Text file, UTF-8. */
  readonly text: string;
  readonly ranks: number;
  /** Tokens that see each other; the text is cut into windows of so many. */
  readonly windowTokens?: number;
  readonly signal?: AbortSignal;
}

/** Errors: those of loadTokenizer() and of the ranks; the signal's reason. */
export async function measurePerplexity(options: PerplexityOptions): Promise<Perplexity> {
  const { packagePath, ranks, windowTokens = 512, signal } = options;
  const tokenizer = await loadTokenizer(packagePath);
  const tokens = Int32Array.from(tokenizer.encode(await readFile(options.text, 'utf8')));
  const data: PerplexityJob = { tokens, windowTokens };
  const job = { module: new URL('./perplexity-leader.ts', import.meta.url).href, data };
  const kvBlocks = Math.ceil(windowTokens / blockPositions);
  const serving = { kvBlocks, maxSequences: 1, stepTokens: windowTokens, maxWaiting: 0, adapters: undefined };
  const abort = signal ? { signal } : {};
  return (await runJob({ packagePath, ranks, transport: 'threads', serving, job, ...abort })) as Perplexity;
}
