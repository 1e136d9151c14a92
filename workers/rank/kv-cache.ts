/**
 * Keys and values of every slot on one rank: one arena per layer for keys and one for values, rows [kvHeads, headDim] of
 * float32, a contiguous range per slot. Views always end on a block border, so that they change once per block and not
 * once per token; the rows behind the last position are finite numbers that the mask turns into weight zero.
 */
import { assert } from '#platform/assert.ts';
import { blockPositions } from '../engine/block-pool.ts';
import type { Runtime, Tensor } from '../runtime/runtime.ts';
import { ContiguousLayout } from './contiguous-layout.ts';

export interface KvCacheOptions {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
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
}

export interface KvView {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** A slot's views of all layers; void after its range grew or moved. */
interface SlotViews {
  readonly positions: number;
  readonly layers: (KvView | undefined)[];
}

export class KvCache {
  readonly #runtime: Runtime;
  readonly #options: KvCacheOptions;
  readonly #rowFloats: number;
  readonly #layout: ContiguousLayout;
  readonly #keys: readonly Float32Array[];
  readonly #values: readonly Float32Array[];
  readonly #views: (SlotViews | undefined)[];

  constructor(runtime: Runtime, options: KvCacheOptions) {
    this.#runtime = runtime;
    this.#options = options;
    this.#rowFloats = options.kvHeads * options.headDim;
    this.#layout = new ContiguousLayout(options.blocks);
    const arenaFloats = options.blocks * blockPositions * this.#rowFloats;
    const arenas = () => Array.from({ length: options.layers }, () => new Float32Array(arenaFloats));
    this.#keys = arenas();
    this.#values = arenas();
    this.#views = new Array<SlotViews | undefined>(options.slots).fill(undefined);
  }

  /** Makes room for positions 0 .. positions-1 of a slot. */
  reserve(slot: number, positions: number): void {
    const before = this.#layout.blocksOf(slot);
    const blocks = Math.ceil(positions / blockPositions);
    if (blocks <= before) return;
    for (const move of this.#layout.grow(slot, blocks)) {
      this.#dropViews(move.slot);
      this.#eachArena((arena) => {
        const block = blockPositions * this.#rowFloats;
        arena.copyWithin(move.to * block, move.from * block, (move.from + move.blocks) * block);
      });
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
    const source = this.#firstRow(from) * this.#rowFloats;
    const target = this.#firstRow(to) * this.#rowFloats;
    this.#eachArena((arena) => arena.copyWithin(target, source, source + positions * this.#rowFloats));
  }

  /** Writes a chunk's keys and values; both arrays hold the step's rows, [rows, kvHeads * headDim]. */
  append(layer: number, chunk: ChunkRows, keys: Float32Array, values: Float32Array): void {
    const width = this.#rowFloats;
    const target = (this.#firstRow(chunk.slot) + chunk.firstPosition) * width;
    const start = chunk.firstRow * width;
    const end = start + chunk.rows * width;
    this.#keys[layer]!.set(keys.subarray(start, end), target);
    this.#values[layer]!.set(values.subarray(start, end), target);
  }

  /** Keys and values [positions rounded up to a block, kvHeads, headDim] of a slot, from position 0. */
  view(layer: number, slot: number, positions: number): KvView {
    const padded = paddedPositions(positions);
    let views = this.#views[slot];
    if (views?.positions !== padded) {
      this.#dropViews(slot);
      views = { positions: padded, layers: new Array<KvView | undefined>(this.#options.layers).fill(undefined) };
      this.#views[slot] = views;
    }
    const known = views.layers[layer];
    if (known) return known;
    const view = this.#createView(layer, slot, padded);
    views.layers[layer] = view;
    return view;
  }

  #createView(layer: number, slot: number, padded: number): KvView {
    const start = this.#firstRow(slot) * this.#rowFloats;
    const end = start + padded * this.#rowFloats;
    const dims = [padded, this.#options.kvHeads, this.#options.headDim];
    return {
      keys: this.#runtime.tensor(this.#keys[layer]!.subarray(start, end), dims),
      values: this.#runtime.tensor(this.#values[layer]!.subarray(start, end), dims),
    };
  }

  #firstRow(slot: number): number {
    return this.#layout.startOf(slot) * blockPositions;
  }

  /** What an earlier sequence left behind must not turn into 0 x NaN. */
  #clear(slot: number, fromBlock: number, toBlock: number): void {
    const block = blockPositions * this.#rowFloats;
    const start = this.#layout.startOf(slot);
    this.#eachArena((arena) => arena.fill(0, (start + fromBlock) * block, (start + toBlock) * block));
  }

  #dropViews(slot: number): void {
    for (const view of this.#views[slot]?.layers ?? []) {
      view?.keys.release();
      view?.values.release();
    }
    this.#views[slot] = undefined;
  }

  #eachArena(action: (arena: Float32Array) => void): void {
    for (const arena of this.#keys) action(arena);
    for (const arena of this.#values) action(arena);
  }
}

export function paddedPositions(positions: number): number {
  return Math.ceil(positions / blockPositions) * blockPositions;
}
