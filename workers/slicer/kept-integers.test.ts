/** The integers of 4-bit checkpoints arrive in a package as they are in the file, one by one. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { unpackMatrix } from '../../test/fixtures/stored-matrix.ts';
import { goldenFile, readTensors, temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { expectedTensors } from '../models/expected-tensors.ts';
import { keptColumns } from './kept-integers.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { planRank } from './rank-plan.ts';
import { slice } from './slice.ts';
import type { StoredIntegers } from './stored/integers.ts';
import type { WeightOf } from './weight-layout.ts';

/** Of weights.bin: what a kept matrix says in the operator's own terms. */
class WrittenMatrix {
  readonly #bytes: Buffer;
  readonly #weight: WeightOf<'integers'>;

  constructor(bytes: Buffer, weight: WeightOf<'integers'>) {
    this.#bytes = bytes;
    this.#weight = weight;
  }

  get #blocks(): number {
    return Math.ceil(this.#weight.matrix.columns / this.#weight.kept.blockSize);
  }

  codeAt(row: number, column: number): number {
    const { values, kept } = this.#weight;
    const byte = this.#bytes[values.offset + (row * this.#blocks * kept.blockSize) / 2 + (column >> 1)]!;
    return column % 2 === 0 ? byte & 15 : byte >> 4;
  }

  zeroAt(row: number, column: number): number {
    const { zeros, kept } = this.#weight;
    if (!zeros) return 8;
    const block = Math.floor(column / kept.blockSize);
    const byte = this.#bytes[zeros.offset + row * Math.ceil(this.#blocks / 2) + (block >> 1)]!;
    return block % 2 === 0 ? byte & 15 : byte >> 4;
  }

  scaleAt(row: number, column: number): number {
    const { scales, kept } = this.#weight;
    const block = Math.floor(column / kept.blockSize);
    return this.#bytes.readFloatLE(scales.offset + 4 * (row * this.#blocks + block));
  }
}

const goldens = ['kimi_k2_int4', 'qwen3_moe_gptq_int4', 'qwen3_moe_awq_int4'] as const;
const cuts = goldens.flatMap((name) => [1, 2, 4].map((ranks) => [name, ranks] as const));

it.each(cuts)('%s on %i ranks: every code, zero point and scale of the file', async (name, ranks) => {
  const model = goldenFile(`quantized/${name}`).replace(/[.]json$/, '');
  await using folder = await temporaryFolder();
  const out = path.join(folder.path, 'package');
  await slice({ model, out, ranks, weights: 'native' });
  const file = new Map(
    (await readTensors(path.join(model, 'model.safetensors'))).map((tensor) => [tensor.name, tensor]),
  );
  const method = name.includes('awq') ? 'awq' : 'gptq';
  await using checkpoint = await openCheckpoint(model);
  const tensors = ModelTensors.find(checkpoint);
  const seen = new Map<string, number>();
  for (let rank = 0; rank < ranks; rank++) {
    const bytes = await readFile(path.join(out, `rank-${rank}`, 'weights.bin'));
    for (const weight of planRank(tensors, { weights: 'native', activations: 'int8', rank, ranks }).weights) {
      if (weight.kind !== 'integers') continue;
      const [part] = weight.matrix.parts;
      const { tensor, rows, columns } = part!;
      const expected = unpackMatrix(file, tensor, method)!;
      const written = new WrittenMatrix(bytes, weight);
      let departures = 0;
      for (let row = 0; row < rows.count; row++) {
        for (let column = 0; column < columns.count; column++) {
          const [from, group] = [rows.first + row, Math.floor((columns.first + column) / 32)];
          if (written.codeAt(row, column) !== expected.codeAt(from, columns.first + column)) departures++;
          if (written.zeroAt(row, column) !== expected.zeroAt(from, group)) departures++;
          if (written.scaleAt(row, column) !== expected.scaleAt(from, group)) departures++;
        }
      }
      expect([tensor, departures]).toEqual([tensor, 0]);
      seen.set(tensor, (seen.get(tensor) ?? 0) + rows.count * columns.count);
    }
  }
  const stored = expectedTensors(checkpoint.spec).filter((tensor) => unpackMatrix(file, tensor.name, method));
  expect([...seen.keys()].sort()).toEqual(stored.map((tensor) => tensor.name).sort());
  for (const { name: tensor, shape } of stored) expect(seen.get(tensor)).toBe(shape[0]! * shape[1]!);
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
