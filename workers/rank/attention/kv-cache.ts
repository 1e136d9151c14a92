/**
 * What positions leave behind for those that follow, on one rank: an arena per layer and kind (keys, values, latents, index
 * keys), rows [heads, dim] of float32, a contiguous range per slot, the same in all arenas. Views always end on a block border,
 * so that they change once per block and not once per token; the rows behind the last position are finite numbers that the mask
 * turns into weight zero.
 */
import { assert } from '#platform/assert.ts';
import { blockPositions } from '../../engine/block-pool.ts';
import type { Runtime, Tensor } from '../../runtime/runtime.ts';
import { ContiguousLayout } from './contiguous-layout.ts';

/** Of one position in an arena. */
export interface ArenaShape {
  readonly heads: number;
  readonly dim: number;
}

export interface KvCacheOptions {
  readonly arenas: readonly ArenaShape[];
  readonly blocks: number;
  readonly slots: number;
}

/** Rows of one sequence within a step. */
export interface ChunkRows {
  readonly slot: number;
  readonly firstPosition: number;
  /** First row of the step's tensors, and how many. */
  readonly firstRow: number;
  readonly rows: number;
  /** Place of the adapter that these rows have. */
  readonly adapter?: number | undefined;
}

/** A slot's views of all arenas; void after its range grew or moved. */
interface SlotViews {
  readonly positions: number;
  readonly arenas: (Tensor | undefined)[];
}

interface Arena {
  readonly shape: ArenaShape;
  readonly rowFloats: number;
  readonly data: Float32Array;
}

export class KvCache {
  readonly #runtime: Runtime;
  readonly #layout: ContiguousLayout;
  readonly #arenas: readonly Arena[];
  readonly #views: (SlotViews | undefined)[];

  constructor(runtime: Runtime, { arenas, blocks, slots }: KvCacheOptions) {
    this.#runtime = runtime;
    this.#layout = new ContiguousLayout(blocks);
    this.#arenas = arenas.map((shape) => {
      const rowFloats = shape.heads * shape.dim;
      return { shape, rowFloats, data: new Float32Array(blocks * blockPositions * rowFloats) };
    });
    this.#views = new Array<SlotViews | undefined>(slots).fill(undefined);
  }

  /** Makes room for positions 0 .. positions-1 of a slot. */
  reserve(slot: number, positions: number): void {
    const before = this.#layout.blocksOf(slot);
    const blocks = Math.ceil(positions / blockPositions);
    if (blocks <= before) return;
    for (const move of this.#layout.grow(slot, blocks)) {
      this.#dropViews(move.slot);
      for (const { data, rowFloats } of this.#arenas) {
        const block = blockPositions * rowFloats;
        data.copyWithin(move.to * block, move.from * block, (move.from + move.blocks) * block);
      }
    }
    this.#dropViews(slot);
    this.#clear(slot, before, blocks);
  }

  release(slot: number): void {
    this.#dropViews(slot);
    this.#layout.release(slot);
  }

  copy(from: number, to: number, positions: number): void {
    assert(this.#layout.blocksOf(to) === 0, `slot ${to} is not empty`);
    this.reserve(to, positions);
    const [source, target] = [this.#firstRow(from), this.#firstRow(to)];
    for (const { data, rowFloats } of this.#arenas) {
      data.copyWithin(target * rowFloats, source * rowFloats, (source + positions) * rowFloats);
    }
  }

  /** Writes a chunk's rows; `rows` holds those of the step, [rows, heads * dim]. */
  append(arena: number, chunk: ChunkRows, rows: Float32Array): void {
    const { data, rowFloats } = this.#arenas[arena]!;
    const target = (this.#firstRow(chunk.slot) + chunk.firstPosition) * rowFloats;
    const start = chunk.firstRow * rowFloats;
    data.set(rows.subarray(start, start + chunk.rows * rowFloats), target);
  }

  /** [positions rounded up to a block, heads, dim] of a slot, from position 0. */
  view(arena: number, slot: number, positions: number): Tensor {
    const padded = paddedPositions(positions);
    let views = this.#views[slot];
    if (views?.positions !== padded) {
      this.#dropViews(slot);
      views = { positions: padded, arenas: new Array<Tensor | undefined>(this.#arenas.length).fill(undefined) };
      this.#views[slot] = views;
    }
    const known = views.arenas[arena];
    if (known) return known;
    const view = this.#createView(arena, slot, padded);
    views.arenas[arena] = view;
    return view;
  }

  #createView(arena: number, slot: number, padded: number): Tensor {
    const { data, rowFloats, shape } = this.#arenas[arena]!;
    const start = this.#firstRow(slot) * rowFloats;
    return this.#runtime.tensor(data.subarray(start, start + padded * rowFloats), [padded, shape.heads, shape.dim]);
  }

  #firstRow(slot: number): number {
    return this.#layout.startOf(slot) * blockPositions;
  }

  /** What an earlier sequence left behind must not turn into 0 x NaN. */
  #clear(slot: number, fromBlock: number, toBlock: number): void {
    const start = this.#layout.startOf(slot);
    for (const { data, rowFloats } of this.#arenas) {
      const block = blockPositions * rowFloats;
      data.fill(0, (start + fromBlock) * block, (start + toBlock) * block);
    }
  }

  #dropViews(slot: number): void {
    for (const view of this.#views[slot]?.arenas ?? []) view?.release();
    this.#views[slot] = undefined;
  }
}

export function paddedPositions(positions: number): number {
  return Math.ceil(positions / blockPositions) * blockPositions;
}
