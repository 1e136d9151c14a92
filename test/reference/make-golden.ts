/** Golden files made by the reference: a prompt on which nothing is decided narrowly, and all that the model says about it. */
import type { Random } from './random.ts';
import type { PositionResult, ReferenceModel } from './reference-model.ts';
import { bestFirst, marginOf } from './selection.ts';

/** As in the golden files: experts, selected keys (absolute), and best tokens (in standard deviations of a row's logits). */
const leastMargin = 1e-3;
/** Tokens tried at one position before a prompt is given up. */
const triesPerPosition = 60;

export interface GoldenShape {
  readonly prompt: number;
  readonly continuation: { readonly least: number; readonly most: number };
}

/** The fields that a comparison reads; test/goldens/README.md says what they mean. */
export interface MadeGolden {
  readonly name: string;
  readonly prompt: readonly number[];
  readonly logits: Readonly<Record<string, readonly number[]>>;
  readonly logits_std: number;
  readonly argmax: readonly number[];
  readonly hidden_last: readonly (readonly number[])[];
  readonly moe_last: Readonly<
    Record<string, { readonly experts: readonly number[]; readonly weights: readonly number[] }>
  >;
  readonly continuation: { readonly tokens: readonly number[] };
}

/** undefined when no prompt was found whose decisions are all wide enough. */
export function makeGolden(
  name: string,
  model: ReferenceModel,
  random: Random,
  shape: GoldenShape,
): MadeGolden | undefined {
  const vocabulary = model.vocabularySize;
  const prompt: number[] = [];
  const results: PositionResult[] = [];
  while (prompt.length < shape.prompt) {
    const found = wideToken(model, random, prompt.length, vocabulary);
    if (!found) return undefined;
    prompt.push(found.token);
    results.push(found.result);
  }
  for (let tries = 0; tries < triesPerPosition; tries++) {
    const tokens = continueGreedily(model, results, shape.continuation.most);
    if (tokens.length >= shape.continuation.least) return goldenOf(name, prompt, results, tokens);
    const found = wideToken(model, random, prompt.length - 1, vocabulary);
    if (!found) return undefined;
    prompt.splice(-1, 1, found.token);
    results.splice(-1, 1, found.result);
  }
  return undefined;
}

function wideToken(model: ReferenceModel, random: Random, position: number, vocabulary: number) {
  for (let tries = 0; tries < triesPerPosition; tries++) {
    const token = random.int(0, vocabulary - 1);
    const result = model.at(position, token);
    if (isWide(result)) return { token, result };
  }
  return undefined;
}

function isWide({ margin, logits }: PositionResult): boolean {
  const best = marginOf([...logits], 1) / standardDeviation([logits]);
  return margin >= leastMargin && best >= leastMargin;
}

/** Stops before a step that is decided narrowly. */
function continueGreedily(model: ReferenceModel, results: readonly PositionResult[], most: number): number[] {
  const tokens = [bestToken(results.at(-1)!)];
  while (tokens.length < most) {
    const result = model.at(results.length + tokens.length - 1, tokens.at(-1)!);
    if (!isWide(result)) break;
    tokens.push(bestToken(result));
  }
  return tokens;
}

function bestToken({ logits }: PositionResult): number {
  return bestFirst([...logits])[0]!;
}

function standardDeviation(rows: readonly Float64Array[]): number {
  const count = rows.reduce((sum, row) => sum + row.length, 0);
  const total = (term: (value: number) => number): number =>
    rows.reduce((sum, row) => sum + row.reduce((of, value) => of + term(value), 0), 0);
  const mean = total((value) => value) / count;
  return Math.sqrt(total((value) => (value - mean) ** 2) / count);
}

function goldenOf(name: string, prompt: number[], results: readonly PositionResult[], tokens: number[]): MadeGolden {
  const last = results.at(-1)!;
  return {
    name,
    prompt,
    logits: Object.fromEntries(results.map(({ logits }, position) => [`${position}`, [...logits]])),
    logits_std: standardDeviation(results.map(({ logits }) => logits)),
    argmax: results.map(bestToken),
    hidden_last: last.hidden.map((vector) => [...vector]),
    moe_last: Object.fromEntries([...last.routings].map(([layer, routing]) => [`${layer}`, routing])),
    continuation: { tokens },
  };
}
