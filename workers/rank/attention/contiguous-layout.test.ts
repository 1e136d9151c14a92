import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ContiguousLayout } from './contiguous-layout.ts';

const capacity = 24;

/** Memory of one number per block, moved as the layout says. */
class Blocks {
  readonly cells = new Int32Array(capacity).fill(-1);

  apply(moves: ReturnType<ContiguousLayout['grow']>): void {
    for (const move of moves) this.cells.copyWithin(move.to, move.from, move.from + move.blocks);
  }
}

test('a range keeps its blocks through any sequence of growth and release, and fits while the sum fits', () => {
  const action = fc.record({ slot: fc.nat(7), grow: fc.integer({ min: 0, max: 9 }) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const layout = new ContiguousLayout(capacity);
      const memory = new Blocks();
      const wanted = new Map<number, number>();
      for (const { slot, grow } of actions) {
        if (grow === 0) {
          layout.release(slot);
          wanted.delete(slot);
          continue;
        }
        const before = wanted.get(slot) ?? 0;
        const used = [...wanted.values()].reduce((sum, blocks) => sum + blocks, 0);
        const after = Math.min(before + grow, before + capacity - used);
        if (after === 0) continue;
        memory.apply(layout.grow(slot, after));
        wanted.set(slot, after);
        const start = layout.startOf(slot);
        for (let block = before; block < after; block++) memory.cells[start + block] = 100 * slot + block;
        for (const [other, blocks] of wanted) {
          const expected = Array.from({ length: blocks }, (_, block) => 100 * other + block);
          const first = layout.startOf(other);
          expect([...memory.cells.subarray(first, first + blocks)]).toEqual(expected);
        }
        expect(layout.usedBlocks).toBe(used - before + after);
      }
    }),
    { seed: 7, numRuns: 2000 },
  );
});

test('sequences that grow side by side seldom move', () => {
  const layout = new ContiguousLayout(1024);
  let moved = 0;
  for (let blocks = 1; blocks <= 64; blocks++) {
    for (let slot = 0; slot < 8; slot++) moved += layout.grow(slot, blocks).length;
  }
  expect(moved).toBeLessThan(16);
});
