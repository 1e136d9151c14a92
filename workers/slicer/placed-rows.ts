/** Rows of a tensor that lie in a larger one. */
import type { Strided, TensorPlace } from '../models/places.ts';
import type { Range } from '../models/shard.ts';
import type { Bits } from './quantise.ts';
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

/** A tensor's integers where they lie in those of a larger one; undefined when its rows are not rows there. */
export function placedIntegers(stored: StoredIntegers, { rows, columns, transposed }: TensorPlace) {
  if (transposed || columns) return undefined;
  return rows ? new PlacedIntegers(stored, rows) : stored;
}

/** From the first to the last of these rows. */
function spanOf({ first, count, step }: Strided): Range {
  return { first, count: (count - 1) * step + 1 };
}

class PlacedIntegers implements StoredIntegers {
  readonly shape: readonly [number, number];
  readonly bits: Bits;
  readonly groupSize: number;
  readonly hasZeros: boolean;
  readonly actOrder: boolean;
  readonly #stored: StoredIntegers;
  readonly #places: readonly Strided[];

  constructor(stored: StoredIntegers, places: readonly Strided[]) {
    this.shape = [places.reduce((sum, { count }) => sum + count, 0), stored.shape[1]];
    this.bits = stored.bits;
    this.groupSize = stored.groupSize;
    this.hasZeros = stored.hasZeros;
    this.actOrder = stored.actOrder;
    this.#stored = stored;
    this.#places = places;
  }

  async readCodes(rows: Range, columns: Range, codes: Uint8Array): Promise<void> {
    let done = 0;
    for (const part of rangesOf(this.#places, rows)) {
      await this.#readCodes(part, columns, codes.subarray(done * columns.count));
      done += part.count;
    }
  }

  /** Rows between those that are wanted are read as well: they lie close together. */
  async #readCodes(part: Strided, columns: Range, codes: Uint8Array): Promise<void> {
    if (part.step === 1) return this.#stored.readCodes(part, columns, codes);
    const span = spanOf(part);
    const all = new Uint8Array(span.count * columns.count);
    await this.#stored.readCodes(span, columns, all);
    for (let row = 0; row < part.count; row++) {
      const from = row * part.step * columns.count;
      codes.set(all.subarray(from, from + columns.count), row * columns.count);
    }
  }

  async readGroups(rows: Range): Promise<Groups> {
    const groups = groupCount(this);
    const all = { scales: new Float32Array(rows.count * groups), zeros: new Uint8Array(rows.count * groups) };
    let done = 0;
    for (const part of rangesOf(this.#places, rows)) {
      const { scales, zeros } = await this.#stored.readGroups(spanOf(part));
      for (let row = 0; row < part.count; row++, done += groups) {
        const from = row * part.step * groups;
        all.scales.set(scales.subarray(from, from + groups), done);
        all.zeros.set(zeros.subarray(from, from + groups), done);
      }
    }
    return all;
  }

  readOrder(): Promise<Int32Array> {
    return this.#stored.readOrder();
  }
}
