/** Verifies a checkpoint against a golden on one rank, in a process that a mutation was put into: node verify-mutant.ts MODEL GOLDEN */
import { TriremeError } from '../../services/platform/errors.ts';
import { verify } from '../../workers/verify/verify.ts';

/** What became of a mutation. */
export interface Verdict {
  /** Largest of all scenarios, in standard deviations; null when nothing was computed. */
  readonly error: number | null;
  readonly continuationEqual: boolean;
  /** Why nothing was computed. */
  readonly refusal?: string;
}

async function verdictOf(model: string, golden: string): Promise<Verdict> {
  try {
    const { scenarios } = await verify({ model, golden, ranks: 1, transport: 'threads', weights: 'fp32' });
    const error = Math.max(...scenarios.map(({ logitError }) => logitError));
    return { error, continuationEqual: scenarios.every(({ continuationEqual }) => continuationEqual) };
  } catch (cause) {
    return { error: null, continuationEqual: false, refusal: TriremeError.from(cause).toLine() };
  }
}

const [model, golden] = process.argv.slice(2);
if (model === undefined || golden === undefined) throw new Error('usage: verify-mutant.ts MODEL GOLDEN');
console.log(JSON.stringify(await verdictOf(model, golden)));
