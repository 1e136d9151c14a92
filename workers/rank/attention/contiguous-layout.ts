/**
 * Where each slot's keys and values lie when a sequence has one contiguous, growing range of blocks. Pure: it hands out
 * ranges and says what must be moved; the owner of the memory moves. A range grows in place when its neighbour is free,
 * moves to a larger gap otherwise, and when no gap is large enough everything slides together: as long as the blocks in
 * use fit the capacity, growing cannot fail.
 */
import { assert } from '#platform/assert.ts';

/** Blocks from .. from+blocks-1 go to `to`; ranges may overlap, moves are to be done in order. */
export interface BlockMove {
  readonly slot: number;
  readonly from: number;
  readonly to: number;
  readonly blocks: number;
}

interface Range {
  readonly slot: number;
  start: number;
  blocks: number;
}

const noMoves: readonly BlockMove[] = [];

export class ContiguousLayout {
  readonly #capacity: number;
  /** Ordered by start, never overlapping. */
  readonly #ranges: Range[] = [];

  constructor(capacityBlocks: number) {
    this.#capacity = capacityBlocks;
  }

  get usedBlocks(): number {
    return this.#ranges.reduce((sum, range) => sum + range.blocks, 0);
  }

  /** First block of a slot. */
  startOf(slot: number): number {
    return this.#range(slot).start;
  }

  blocksOf(slot: number): number {
    return this.#ranges.find((range) => range.slot === slot)?.blocks ?? 0;
  }

  release(slot: number): void {
    const index = this.#ranges.findIndex((range) => range.slot === slot);
    if (index >= 0) this.#ranges.splice(index, 1);
  }

  /** Makes the slot at least this many blocks long. The result lists the moves that keep what is there. */
  grow(slot: number, blocks: number): readonly BlockMove[] {
    const index = this.#ranges.findIndex((range) => range.slot === slot);
    const range = this.#ranges[index];
    if (!range) return this.#place(slot, blocks);
    if (range.blocks >= blocks) return noMoves;
    const neighbour = this.#ranges[index + 1]?.start ?? this.#capacity;
    if (neighbour - range.start >= blocks) {
      range.blocks = blocks;
      return noMoves;
    }
    return this.#relocate(index, blocks);
  }

  #place(slot: number, blocks: number): readonly BlockMove[] {
    const gap = this.#largestGap(blocks);
    const moves = gap === undefined ? this.#compact() : noMoves;
    this.#insert({ slot, start: gap ?? this.#end(), blocks });
    return moves;
  }

  #relocate(index: number, blocks: number): readonly BlockMove[] {
    const range = this.#ranges[index]!;
    const gap = this.#largestGap(blocks);
    if (gap !== undefined) {
      this.#ranges.splice(index, 1);
      this.#insert({ slot: range.slot, start: gap, blocks });
      return [{ slot: range.slot, from: range.start, to: gap, blocks: range.blocks }];
    }
    return this.#slideApart(index, blocks);
  }

  /** The ranges up to this one slide left, those behind it right: every free block is then behind it. */
  #slideApart(index: number, blocks: number): readonly BlockMove[] {
    const moves = [...this.#compact(index)];
    const range = this.#ranges[index]!;
    let end = this.#capacity;
    for (const other of this.#ranges.slice(index + 1).reverse()) {
      const start = end - other.blocks;
      if (start !== other.start) moves.push({ slot: other.slot, from: other.start, to: start, blocks: other.blocks });
      other.start = start;
      end = start;
    }
    assert(end - range.start >= blocks, `slot ${range.slot} needs ${blocks} blocks, ${end - range.start} are free`);
    range.blocks = blocks;
    return moves;
  }

  /** Slides ranges 0 .. last to the left; all of them by default. */
  #compact(last = this.#ranges.length - 1): readonly BlockMove[] {
    const moves: BlockMove[] = [];
    let start = 0;
    for (const range of this.#ranges.slice(0, last + 1)) {
      if (range.start !== start) moves.push({ slot: range.slot, from: range.start, to: start, blocks: range.blocks });
      range.start = start;
      start += range.blocks;
    }
    return moves;
  }

  /**
   * A place in the largest gap, or undefined when even that is too small. In its middle unless it starts at 0, so that both
   * the newcomer and the range before it have room to grow.
   */
  #largestGap(blocks: number): number | undefined {
    let best: number | undefined;
    let bestBlocks = blocks - 1;
    let start = 0;
    for (const range of [...this.#ranges, { start: this.#capacity, blocks: 0 }]) {
      if (range.start - start > bestBlocks) {
        bestBlocks = range.start - start;
        best = start === 0 ? 0 : start + ((bestBlocks - blocks) >> 1);
      }
      start = range.start + range.blocks;
    }
    return best;
  }

  #end(): number {
    const last = this.#ranges.at(-1);
    return last ? last.start + last.blocks : 0;
  }

  #insert(range: Range): void {
    assert(range.start + range.blocks <= this.#capacity, `no room for ${range.blocks} blocks`);
    const index = this.#ranges.findIndex((other) => other.start > range.start);
    this.#ranges.splice(index < 0 ? this.#ranges.length : index, 0, range);
  }

  #range(slot: number): Range {
    const range = this.#ranges.find((candidate) => candidate.slot === slot);
    assert(range, `slot ${slot} holds nothing`);
    return range;
  }
}
