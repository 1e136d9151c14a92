import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BlockPool, blocksFor } from './block-pool.ts';

test('a block holds 16 positions', () => {
  expect([1, 15, 16, 17, 32, 33].map(blocksFor)).toEqual([1, 1, 1, 2, 2, 3]);
});

test('slots come lowest first and blocks by need', () => {
  const pool = new BlockPool(5, 3);
  expect(pool.take(16)).toBe(0);
  expect(pool.take(17)).toBe(1);
  expect([pool.freeBlocks, pool.freeSlots]).toEqual([2, 1]);
  pool.free(0);
  expect(pool.take(1)).toBe(0);
  expect(pool.freed).toEqual([0]);
});

test('what does not fit changes nothing', () => {
  const pool = new BlockPool(3, 2);
  expect(pool.take(49)).toBeUndefined();
  expect(pool.take(32)).toBe(0);
  expect(pool.grow(0, 49)).toBe(false);
  expect(pool.roomOf(0)).toBe(32);
  expect(pool.grow(0, 48)).toBe(true);
  expect(pool.take(1)).toBeUndefined();
  expect([pool.freeBlocks, pool.freeSlots]).toEqual([0, 1]);
});

test('a step that is rolled back frees nothing: the runner is told once, by the step that is committed', () => {
  const pool = new BlockPool(3, 2);
  pool.take(1);
  pool.take(1);
  pool.free(0);
  pool.begin();
  pool.free(1);
  expect(pool.freed).toEqual([0, 1]);
  pool.rollback();
  expect(pool.freed).toEqual([0]);
  pool.begin();
  pool.commit();
  expect(pool.freed).toEqual([]);
});

test('freeing a slot that is not taken is a bug', () => {
  const pool = new BlockPool(3, 2);
  expect(() => pool.free(1)).toThrow('not taken');
  expect(() => pool.grow(2, 1)).toThrow('not taken');
});

test('a step that is rolled back leaves no trace, one that is committed stays; nothing is ever lost', () => {
  const action = fc.record({
    kind: fc.constantFrom('take', 'grow', 'free', 'begin', 'commit', 'rollback'),
    slot: fc.nat(4),
    positions: fc.integer({ min: 1, max: 100 }),
  });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const pool = new BlockPool(12, 5);
      let held = new Map<number, number>();
      let before: Map<number, number> | undefined;
      for (const { kind, slot, positions } of actions) {
        const used = [...held.values()].reduce((sum, blocks) => sum + blocks, 0);
        if (kind === 'take') {
          const taken = pool.take(positions);
          expect(taken !== undefined).toBe(held.size < 5 && used + blocksFor(positions) <= 12);
          if (taken !== undefined) held.set(taken, blocksFor(positions));
        } else if (kind === 'grow' && held.has(slot)) {
          const blocks = Math.max(held.get(slot)!, blocksFor(positions));
          const fits = used - held.get(slot)! + blocks <= 12;
          expect(pool.grow(slot, positions)).toBe(fits);
          if (fits) held.set(slot, blocks);
        } else if (kind === 'free' && held.delete(slot)) pool.free(slot);
        else if (kind === 'begin' && !before) {
          pool.begin();
          before = new Map(held);
        } else if (kind === 'commit' && before) {
          pool.commit();
          expect(pool.freed).toEqual([]);
          before = undefined;
        } else if (kind === 'rollback' && before) {
          pool.rollback();
          held = before;
          before = undefined;
        }
        pool.check();
        const blocks = [...held.values()].reduce((sum, count) => sum + count, 0);
        expect([pool.freeBlocks, pool.freeSlots]).toEqual([12 - blocks, 5 - held.size]);
      }
    }),
    { seed: 11, numRuns: 300 },
  );
});
