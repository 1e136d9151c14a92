/**
 * Who runs in the next step. It decides from lengths and ages alone and changes nothing but the block pool's provisional
 * step.
 *
 * - Age is the only priority. A running sequence that lacks a block takes it from the youngest; the oldest therefore
 *   always moves, alone if need be, and nothing that was accepted waits for ever.
 * - Every running sequence with one token to compute (decoding) gets its row first; what is left of the token budget goes
 *   to prompts in chunks, oldest first. The budget covers all slots, so neither side can starve the other.
 * - A sequence is admitted with the blocks of all its tokens, so that a prompt never stops half-way, and only while one more
 *   block for every running sequence remains: nobody is preempted in the 16 steps after.
 */
import type { Admission, Batch, Chunk } from './batch.ts';
import { type BlockPool, blocksFor } from './block-pool.ts';
import type { LineUp } from './line-up.ts';
import type { Sequence } from './sequence.ts';

export class Scheduler {
  readonly #pool: BlockPool;
  readonly #running: LineUp;
  readonly #waiting: LineUp;
  readonly #stepTokens: number;
  readonly #canCopy: boolean;

  constructor(
    pool: BlockPool,
    running: LineUp,
    waiting: LineUp,
    { stepTokens, canCopy }: { readonly stepTokens: number; readonly canCopy: boolean },
  ) {
    this.#pool = pool;
    this.#running = running;
    this.#waiting = waiting;
    this.#stepTokens = stepTokens;
    this.#canCopy = canCopy;
  }

  /** To be called inside the pool's begin() .. commit() or rollback(). */
  plan(): Batch {
    const { ready, preempted, stalled } = this.#reserve();
    const chunks: Chunk[] = [];
    let budget = this.#stepTokens;
    const give = (sequence: Sequence, slot: number, first: number) => {
      const count = Math.min(budget, sequence.length - first);
      if (count === 0) return;
      chunks.push({ sequence, slot, first, count });
      budget -= count;
    };
    for (const sequence of ready) if (sequence.pending === 1) give(sequence, sequence.slot!, sequence.cached);
    for (const sequence of ready) if (sequence.pending > 1) give(sequence, sequence.slot!, sequence.cached);

    const admitted: Admission[] = [];
    if (preempted.length > 0 || stalled) return { preempted, admitted, chunks };
    for (const sequence of this.#waiting.all) {
      if (budget === 0) break;
      const source = this.#sourceFor(sequence, admitted);
      if (source === 'later') continue;
      const slot = this.#admit(sequence, ready.length + admitted.length);
      if (slot === undefined) break;
      admitted.push({ sequence, slot, ...source });
      give(sequence, slot, source.shared);
    }
    return { preempted, admitted, chunks };
  }

  /** Blocks for the next token of every running sequence, oldest first; the youngest ones pay when they do not suffice. */
  #reserve(): { ready: readonly Sequence[]; preempted: Sequence[]; stalled: boolean } {
    const running = this.#running.all;
    const preempted: Sequence[] = [];
    let end = running.length;
    for (let index = 0; index < end; index++) {
      const { slot, length } = running[index]!;
      while (!this.#pool.grow(slot!, length)) {
        // The youngest that is left keeps what it has and sits this step out: an older one may need it, nobody else can.
        if (index === end - 1) return { ready: running.slice(0, index), preempted, stalled: true };
        const victim = running[--end]!;
        this.#pool.free(victim.slot!);
        preempted.push(victim);
      }
    }
    return { ready: running.slice(0, end), preempted, stalled: false };
  }

  /** A slot with blocks for all tokens so far, while every running sequence can still have one block more. */
  #admit(sequence: Sequence, running: number): number | undefined {
    if (this.#pool.freeBlocks - blocksFor(sequence.length) < running) return undefined;
    return this.#pool.take(sequence.length);
  }

  /** The sibling whose cache has the prompt; 'later' while a sibling is computing it; none when nobody has it. */
  #sourceFor(sequence: Sequence, admitted: readonly Admission[]): Pick<Admission, 'donor' | 'shared'> | 'later' {
    const shared = sequence.shareable;
    const siblings = sequence.request.sequences;
    if (shared === 0 || siblings.length === 1 || !this.#canCopy) return { donor: undefined, shared: 0 };
    const running = siblings.filter(({ slot }) => slot !== undefined);
    const donor = running.find(({ cached }) => cached >= shared);
    if (donor) return { donor, shared };
    const isComputing = running.length > 0 || admitted.some((other) => siblings.includes(other.sequence));
    return isComputing ? 'later' : { donor: undefined, shared: 0 };
  }
}
