/**
 * Which worker gets which ranks of a new formation. Pure and deterministic: the same workers, free places and wish give
 * the same answer, whatever the order in which they were seen.
 */
import type { GroupRecord, RankPlacement, WorkerRecord } from '#proto/records.ts';

export type PlacementOutcome =
  | { readonly kind: 'placed'; readonly ranks: RankPlacement[] }
  /** Fewer free ranks on all workers together than the group needs. */
  | { readonly kind: 'no-room'; readonly freeRanks: number; readonly workers: number };

/** Free ranks by worker id: capacity less the ranks that the given groups own. Ids of other workers are passed over. */
export function freeRanksByWorker(
  workers: readonly WorkerRecord[],
  owners: Iterable<GroupRecord>,
): Map<string, number> {
  const free = new Map(workers.map((worker) => [worker.id, worker.rankCapacity]));
  for (const group of owners) {
    for (const { worker } of group.ranks) {
      const left = free.get(worker);
      if (left !== undefined) free.set(worker, Math.max(0, left - 1));
    }
  }
  return free;
}

/**
 * One worker for all ranks when any has room: the one that fits tightest, so that large places stay whole. Else the
 * workers with most room first, so that the group spans as few as possible. Ties go by id. Ranks are dealt in runs:
 * neighbours in rank order share a worker.
 */
export function placeRanks(
  rankCount: number,
  workers: readonly WorkerRecord[],
  freeRanks: ReadonlyMap<string, number>,
): PlacementOutcome {
  const free = (worker: WorkerRecord): number => freeRanks.get(worker.id) ?? 0;
  const widestFirst = workers
    .filter((worker) => free(worker) > 0)
    .sort((a, b) => free(b) - free(a) || (a.id < b.id ? -1 : 1));
  const tightest = Math.min(...widestFirst.map(free).filter((ranks) => ranks >= rankCount));
  const whole = widestFirst.find((worker) => free(worker) === tightest);
  const owners = (whole ? [whole] : widestFirst).flatMap((worker) =>
    Array<WorkerRecord>(Math.min(free(worker), rankCount)).fill(worker),
  );
  if (owners.length < rankCount) return { kind: 'no-room', freeRanks: owners.length, workers: workers.length };
  return { kind: 'placed', ranks: owners.slice(0, rankCount).map(placementOf) };
}

function placementOf({ id, address, rankAddress, incarnation }: WorkerRecord, rank: number): RankPlacement {
  return { rank, worker: id, address, rankAddress, incarnation };
}
