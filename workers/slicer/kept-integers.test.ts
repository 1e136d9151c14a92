/** The integers of 4-bit checkpoints arrive in a package as they are in the file, one by one. */
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointIntegers } from '../../test/fixtures/integers-in-file.ts';
import { goldenFile, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { compareIntegers, storedIntegers } from '../../test/goldens/compare-integers.ts';
import { gptqForms, rewriteGptq } from '../../test/goldens/gptq-forms.ts';
import { expectedTensors } from '../models/expected-tensors.ts';
import { keptColumns } from './kept-integers.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import type { StoredIntegers } from './stored/integers.ts';

const goldens = ['kimi_k2_int4', 'qwen3_moe_gptq_int4', 'qwen3_moe_awq_int4'] as const;
const cuts = goldens.flatMap((name) => [1, 2, 4].map((ranks) => [name, ranks] as const));

it.each(cuts)('%s on %i ranks: every code, zero point and scale of the file', async (name, ranks) => {
  const model = goldenFile(`quantized/${name}`).replace(/[.]json$/, '');
  await using folder = await temporaryFolder();
  const { different, codes } = await compareIntegers(model, ranks, path.join(folder.path, 'package'));
  expect(different).toBe(0);
  await using checkpoint = await openCheckpoint(model);
  const stored = storedIntegers(checkpoint, await CheckpointIntegers.read(model));
  const expected = expectedTensors(checkpoint.spec).filter((tensor) => stored.has(tensor.name));
  expect(new Map(codes)).toEqual(new Map(expected.map(({ name: tensor, shape }) => [tensor, shape[0]! * shape[1]!])));
});

it.each(gptqForms)('GPTQ in form %s: every code, zero point and scale of the file', async (form) => {
  await using folder = await temporaryFolder();
  const model = path.join(folder.path, 'checkpoint');
  await rewriteGptq(goldenFile('quantized/qwen3_moe_gptq_int4').replace(/[.]json$/, ''), form, model);
  const { different, kept } = await compareIntegers(model, 1, path.join(folder.path, 'package'));
  expect([different, kept]).toEqual([0, 63]);
});

function integers(columns: number, groupSize: number, actOrder = false): StoredIntegers {
  const unread = (): Promise<never> => Promise.reject(new Error('planning reads nothing'));
  const parts = { readCodes: unread, readGroups: unread, readOrder: unread };
  return { shape: [8, columns], bits: 4, groupSize, hasZeros: true, actOrder, ...parts };
}

describe('blocks of a part of the columns', () => {
  it('lie in one group each, and are as large as may be', () => {
    const cut = fc.record({
      width: fc.integer({ min: 1, max: 64 }).map((count) => count * 8),
      groupSize: fc.constantFrom(8, 16, 24, 32, 48, 64, 128, 256),
      from: fc.nat(63),
      count: fc.integer({ min: 1, max: 64 }),
    });
    fc.assert(
      fc.property(cut, ({ width, groupSize, from, count }) => {
        const first = Math.min(from * 8, width - 8);
        const columns = { first, count: Math.min(count * 8, width - first) };
        const isWhole = (size: number): boolean => {
          const groupOf = (column: number): number => Math.floor((first + column) / groupSize);
          return Array.from({ length: columns.count }, (_, i) => i).every(
            (i) => groupOf(i) === groupOf(i - (i % size)),
          );
        };
        const kept = keptColumns(integers(width, groupSize), columns);
        expect(kept?.blockSize).toBe([32, 16].find(isWhole));
      }),
      { numRuns: 2000 },
    );
  });

  it('are none where columns in the order of activations are cut', () => {
    const scattered = integers(128, 32, true);
    expect(keptColumns(scattered, { first: 0, count: 128 })).toMatchObject({ blockSize: 32, reordered: true });
    expect(keptColumns(scattered, { first: 0, count: 64 })).toBeUndefined();
  });
});
