import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GroupRecord, WorkerRecord } from '#proto/records.ts';
import { freeRanksByWorker, placeRanks } from './placement.ts';

const workersOf = (capacities: Record<string, number>): WorkerRecord[] =>
  Object.entries(capacities).map(([id, rankCapacity]) => WorkerRecord.fromPartial({ id, rankCapacity }));

/** Worker ids in rank order, or the number of free ranks. */
function place(rankCount: number, capacities: Record<string, number>, owners: GroupRecord[] = []): string | number {
  const workers = workersOf(capacities);
  const outcome = placeRanks(rankCount, workers, freeRanksByWorker(workers, owners));
  return outcome.kind === 'placed' ? outcome.ranks.map(({ worker }) => worker).join(' ') : outcome.freeRanks;
}

const groupOn = (...workers: string[]): GroupRecord =>
  GroupRecord.fromPartial({ ranks: workers.map((worker, rank) => ({ rank, worker })) });

test('a group goes to one worker if any has room: the one that it fills best', () => {
  expect(place(2, { a: 8, b: 3, c: 2 })).toBe('c c');
  expect(place(2, { a: 8, b: 3, c: 2 }, [groupOn('c')])).toBe('b b');
});

test('a group that fits on no worker spans as few as possible, neighbours together', () => {
  expect(place(5, { a: 1, b: 4, c: 3 })).toBe('b b b b c');
});

test('ties go by id, whatever the order in which workers were seen', () => {
  expect(place(2, { b: 2, a: 2 })).toBe('a a');
  expect(place(3, { c: 2, b: 2, a: 2 })).toBe('a a b');
});

test('without room the free ranks are counted, and workers that are full or unknown count nothing', () => {
  expect(place(4, { a: 2, b: 1 }, [groupOn('b', 'elsewhere')])).toBe(2);
  expect(place(1, {})).toBe(0);
  expect(place(1, { a: 1 }, [groupOn('a', 'a')])).toBe(0);
});

test('whatever the cluster, a group is placed exactly when its ranks are free, and never beyond a capacity', () => {
  const capacities = fc.dictionary(fc.string({ minLength: 1, maxLength: 2 }), fc.integer({ min: 0, max: 5 }));
  fc.assert(
    fc.property(capacities, fc.integer({ min: 1, max: 12 }), (capacity, rankCount) => {
      const workers = workersOf(capacity);
      const free = freeRanksByWorker(workers, []);
      const total = [...free.values()].reduce((sum, ranks) => sum + ranks, 0);
      const outcome = placeRanks(rankCount, workers, free);
      expect(outcome.kind).toBe(total >= rankCount ? 'placed' : 'no-room');
      if (outcome.kind === 'no-room') return;
      expect(outcome.ranks.map(({ rank }) => rank)).toEqual(Array.from({ length: rankCount }, (_, rank) => rank));
      const left = freeRanksByWorker(workers, [GroupRecord.fromPartial({ ranks: outcome.ranks })]);
      const placed = [...left].reduce((sum, [id, ranks]) => sum + (free.get(id) ?? 0) - ranks, 0);
      expect(placed).toBe(rankCount);
    }),
  );
});
