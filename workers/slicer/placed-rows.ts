/** Rows of a tensor that lie in a larger one. */
import type { Strided, TensorPlace } from '../models/places.ts';
import type { Range } from '../models/shard.ts';
import { type Groups, groupCount, type StoredIntegers } from './stored/integers.ts';

/** Of the rows that make up a tensor those from rows.first on, as they lie in the stored tensor. */
export function rangesOf(places: readonly Strided[] | undefined, rows: Range): readonly Strided[] {
  if (!places) return [{ ...rows, step: 1 }];
  const parts: Strided[] = [];
  let start = 0;
  for (const { first, count, step } of places) {
    const from = Math.max(rows.first, start);
    const to = Math.min(rows.first + rows.count, start + count);
    if (from < to) parts.push({ first: first + (from - start) * step, count: to - from, step });
    start += count;
  }
  return parts;
}

/** A tensor's integers where they lie in those of a larger one; undefined when its rows are not rows there, one after the other. */
export function placedIntegers(stored: StoredIntegers, { rows, columns, transposed }: TensorPlace) {
  if (transposed || columns || rows?.some(({ step }) => step !== 1)) return undefined;
  return rows ? new PlacedIntegers(stored, rows) : stored;
}

class PlacedIntegers implements StoredIntegers {
  readonly shape: readonly [number, number];
  readonly groupSize: number;
  readonly hasZeros: boolean;
  readonly actOrder: boolean;
  readonly #stored: StoredIntegers;
  readonly #places: readonly Strided[];

  constructor(stored: StoredIntegers, places: readonly Strided[]) {
    this.shape = [places.reduce((sum, { count }) => sum + count, 0), stored.shape[1]];
    this.groupSize = stored.groupSize;
    this.hasZeros = stored.hasZeros;
    this.actOrder = stored.actOrder;
    this.#stored = stored;
    this.#places = places;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    let done = 0;
    for (const part of rangesOf(this.#places, rows)) {
      await this.#stored.readCodes(part, columns, codes.subarray(done * columns.count));
      done += part.count;
    }
  }

  async readGroups(rows: Range): Promise<Groups> {
    const count = rows.count * groupCount(this);
    const all = { scales: new Float32Array(count), zeros: new Uint8Array(count) };
    let done = 0;
    for (const part of rangesOf(this.#places, rows)) {
      const { scales, zeros } = await this.#stored.readGroups(part);
      all.scales.set(scales, done);
      all.zeros.set(zeros, done);
      done += scales.length;
    }
    return all;
  }

  readOrder(): Promise<Int32Array> {
    return this.#stored.readOrder();
  }
}
