/**
 * Slots and KV blocks: who has how many. It knows no addresses; with a contiguous layout each slot owns its blocks alone, so
 * counting is enough. A step plans inside begin() .. commit() or rollback(); what it takes and frees is provisional until
 * then. What was freed is remembered until a committed step has told the runner.
 */
import { assert } from '#platform/assert.ts';

/** Positions in a block. */
export const blockPositions = 16;

export function blocksFor(positions: number): number {
  return Math.ceil(positions / blockPositions);
}

export class BlockPool {
  readonly totalBlocks: number;
  readonly totalSlots: number;
  /** Blocks per slot; 0 means that the slot is free. */
  readonly #held: Int32Array;
  readonly #heldBefore: Int32Array;
  #freeBlocks: number;
  #freeSlots: number;
  #freed: number[] = [];
  #freedBefore: number[] = [];
  #planning = false;

  constructor(totalBlocks: number, totalSlots: number) {
    this.totalBlocks = totalBlocks;
    this.totalSlots = totalSlots;
    this.#held = new Int32Array(totalSlots);
    this.#heldBefore = new Int32Array(totalSlots);
    this.#freeBlocks = totalBlocks;
    this.#freeSlots = totalSlots;
  }

  get freeBlocks(): number {
    return this.#freeBlocks;
  }

  get freeSlots(): number {
    return this.#freeSlots;
  }

  /** Slots freed since the last committed step, in order: the runner has not been told yet. */
  get freed(): readonly number[] {
    return this.#freed;
  }

  begin(): void {
    assert(!this.#planning, 'a step is being planned already');
    this.#planning = true;
    this.#heldBefore.set(this.#held);
    this.#freedBefore = this.#freed.slice();
  }

  /** The step ran: the runner knows of everything freed so far. */
  commit(): void {
    assert(this.#planning, 'no step is being planned');
    this.#planning = false;
    this.#freed = [];
    this.check();
  }

  /** As if begin() had never been called. */
  rollback(): void {
    assert(this.#planning, 'no step is being planned');
    this.#planning = false;
    this.#held.set(this.#heldBefore);
    this.#freed = this.#freedBefore;
    this.#recount();
  }

  /** The lowest free slot, with room for positions; undefined when slots or blocks do not suffice. */
  take(positions: number): number | undefined {
    assert(positions > 0, 'a slot without positions');
    const blocks = blocksFor(positions);
    if (this.#freeSlots === 0 || blocks > this.#freeBlocks) return undefined;
    const slot = this.#held.indexOf(0);
    this.#held[slot] = blocks;
    this.#freeBlocks -= blocks;
    this.#freeSlots--;
    return slot;
  }

  /** Room for positions in a slot that is taken. False, and nothing changed, when blocks do not suffice. */
  grow(slot: number, positions: number): boolean {
    const held = this.#heldBy(slot);
    const more = Math.max(0, blocksFor(positions) - held);
    if (more > this.#freeBlocks) return false;
    this.#held[slot] = held + more;
    this.#freeBlocks -= more;
    return true;
  }

  free(slot: number): void {
    this.#freeBlocks += this.#heldBy(slot);
    this.#freeSlots++;
    this.#held[slot] = 0;
    this.#freed.push(slot);
  }

  /** Positions that a slot has room for. */
  roomOf(slot: number): number {
    return this.#heldBy(slot) * blockPositions;
  }

  /** Invariant: free and held blocks make up the total. */
  check(): void {
    const [blocks, slots] = [this.#freeBlocks, this.#freeSlots];
    this.#recount();
    assert(blocks === this.#freeBlocks, `${blocks} blocks counted free, ${this.#freeBlocks} are`);
    assert(slots === this.#freeSlots, `${slots} slots counted free, ${this.#freeSlots} are`);
    assert(blocks >= 0 && slots >= 0, `${blocks} blocks and ${slots} slots are free`);
  }

  #recount(): void {
    let blocks = 0;
    let slots = 0;
    for (const held of this.#held) {
      blocks += held;
      if (held > 0) slots++;
    }
    this.#freeBlocks = this.totalBlocks - blocks;
    this.#freeSlots = this.totalSlots - slots;
  }

  #heldBy(slot: number): number {
    const held = this.#held[slot];
    assert(held !== undefined && held > 0, `slot ${slot} is not taken`);
    return held;
  }
}
