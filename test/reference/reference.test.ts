/** The reference against the golden files, which come from another implementation by other authors. */
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildCheckpoint } from '../goldens/build-checkpoint.ts';
import { type PositionResult, ReferenceModel, readReferenceCheckpoint } from './reference-model.ts';
import { bestFirst } from './selection.ts';

interface GoldenFile {
  readonly seed: number | null;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: Parameters<typeof buildCheckpoint>[0]['tensors'];
  readonly prompt: readonly number[];
  readonly logits: Readonly<Record<string, readonly number[]>>;
  readonly logits_std: number;
  readonly argmax: readonly number[];
  readonly hidden_last: readonly (readonly number[])[];
  readonly moe_last?: Readonly<
    Record<string, { readonly experts: readonly number[]; readonly weights: readonly number[] }>
  >;
  readonly indexer_last?: Readonly<Record<string, readonly number[]>>;
  readonly continuation: { readonly tokens: readonly number[] };
}

const goldens = path.join(import.meta.dirname, '..', 'goldens');
const names = readdirSync(goldens)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.slice(0, -5));

function modelIn(folder: string): ReferenceModel {
  return new ReferenceModel(readReferenceCheckpoint(folder));
}

async function modelOf(name: string, golden: GoldenFile): Promise<ReferenceModel> {
  if (golden.seed === null) return modelIn(path.join(goldens, '..', '..', 'models', name));
  const folder = await mkdtemp(path.join(tmpdir(), 'trireme-reference-'));
  try {
    expect(await buildCheckpoint({ ...golden, seed: golden.seed }, folder)).toEqual([]);
    return modelIn(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function best({ logits }: PositionResult): number {
  return bestFirst([...logits])[0]!;
}

function largestDifference(actual: ArrayLike<number>, expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length);
  return expected.reduce((largest, value, i) => Math.max(largest, Math.abs(actual[i]! - value)), 0);
}

describe('the reference forward pass', () => {
  it('has a golden file for every family and layout', () => {
    expect(names.length).toBeGreaterThanOrEqual(25);
  });

  it.each(names)('agrees with the golden file %s', async (name) => {
    const golden: GoldenFile = JSON.parse(readFileSync(path.join(goldens, `${name}.json`), 'utf8'));
    const model = await modelOf(name, golden);
    const rows = golden.prompt.map((token, position) => model.at(position, token));
    expect(rows.map(best)).toEqual(golden.argmax);
    for (const [position, expected] of Object.entries(golden.logits)) {
      expect(largestDifference(rows[Number(position)]!.logits, expected) / golden.logits_std).toBeLessThan(2e-5);
    }
    const last = rows.at(-1)!;
    for (const [layer, expected] of golden.hidden_last.entries()) {
      const size = Math.sqrt(expected.reduce((sum, value) => sum + value * value, 0) / expected.length);
      expect(largestDifference(last.hidden[layer]!, expected) / size).toBeLessThan(2e-5);
    }
    const routings = Object.entries(golden.moe_last ?? {});
    expect(routings.map(([layer]) => Number(layer))).toEqual([...last.routings.keys()]);
    for (const [layer, { experts, weights }] of routings) {
      const routing = last.routings.get(Number(layer))!;
      expect(routing.experts).toEqual(experts);
      expect(largestDifference(routing.weights, weights)).toBeLessThan(2e-5);
    }
    const selections = Object.entries(golden.indexer_last ?? {}).map(([layer, keys]) => [Number(layer), keys]);
    expect([...last.selections]).toEqual(selections);
    const tokens = [best(last)];
    while (tokens.length < golden.continuation.tokens.length) {
      tokens.push(best(model.at(golden.prompt.length + tokens.length - 1, tokens.at(-1)!)));
    }
    expect(tokens).toEqual(golden.continuation.tokens);
  });
});
