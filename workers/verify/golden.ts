/** Expected values of a model on one prompt, made by an independent implementation. test/goldens has the files. */
import { z } from 'zod';
import { TriremeError } from '#platform/errors.ts';

const numbers = z.array(z.number());

const fields = z.object({
  name: z.string(),
  /** Token ids. */
  prompt: z.array(z.int().nonnegative()).min(1),
  /** Full rows of logits by prompt position. */
  logits: z.record(z.string(), numbers),
  /** Over all positions of the prompt: the unit of every tolerance. */
  logits_std: z.number().positive(),
  /** Best token at each position of the prompt. */
  argmax: z.array(z.int()),
  /** Residual stream at the prompt's last position after each layer. */
  hidden_last: z.array(numbers),
  /** By layer: experts chosen at the last position, and what multiplies their outputs, largest first. */
  moe_last: z.record(z.string(), z.object({ experts: z.array(z.int()), weights: numbers })).default({}),
  continuation: z.object({ tokens: z.array(z.int()).min(1) }),
});

/** What would be left out of every comparison is an error. */
const goldenSchema = fields
  .refine(({ prompt, argmax }) => argmax.length === prompt.length, 'argmax has another length than the prompt')
  .refine(({ logits }) => Object.keys(logits).length > 0, 'there are no logits')
  .refine(({ prompt, logits }) => Object.keys(logits).every((key) => isPosition(key, prompt.length)), {
    error: 'logits of a position that the prompt does not have',
  });

function isPosition(key: string, positions: number): boolean {
  return /^\d+$/.test(key) && Number(key) < positions;
}

export interface Routing {
  readonly experts: readonly number[];
  readonly weights: readonly number[];
}

export interface Golden {
  readonly name: string;
  readonly prompt: readonly number[];
  readonly logits: ReadonlyMap<number, readonly number[]>;
  readonly logitsStd: number;
  readonly argmax: readonly number[];
  readonly hiddenLast: readonly (readonly number[])[];
  readonly routingLast: ReadonlyMap<number, Routing>;
  /** Greedy tokens after the prompt; end tokens do not stop them. */
  readonly continuation: readonly number[];
}

/** Errors: INVALID_ARGUMENT when the text is no golden. */
export function parseGolden(text: string, file: string): Golden {
  const parsed = goldenSchema.safeParse(parseJson(text));
  if (!parsed.success) {
    throw new TriremeError('INVALID_ARGUMENT', `${file} is not a golden file: ${firstIssue(parsed.error)}`, {
      remedy: 'test/goldens has files of the form that is expected',
    });
  }
  const { name, prompt, logits, argmax, continuation, ...golden } = parsed.data;
  return {
    name,
    prompt,
    argmax,
    logits: byNumber(logits),
    logitsStd: golden.logits_std,
    hiddenLast: golden.hidden_last,
    routingLast: byNumber(golden.moe_last),
    continuation: continuation.tokens,
  };
}

function firstIssue({ issues }: z.ZodError): string {
  const [issue] = issues;
  return `${issue?.path.join('.') || 'the whole'}: ${issue?.message ?? 'invalid'}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema then says that an object was expected.
  }
}

function byNumber<T>(record: Readonly<Record<string, T>>): ReadonlyMap<number, T> {
  return new Map(Object.entries(record).map(([key, value]) => [Number(key), value]));
}
