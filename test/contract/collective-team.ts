/** The ranks of one process in a collective case: a thread each; a thread that ends early aborts the team. */
import { Worker } from 'node:worker_threads';
import type { TeamMemory } from '../../workers/collectives/team-memory.ts';
import type { RankData, RankMessage } from './collective-rank.ts';
import type { ScenarioName } from './collective-scenarios.ts';

export interface LocalTeam {
  /** By rank, of the local ones; resolves when all threads have ended. */
  readonly outcomes: Promise<ReadonlyMap<number, string>>;
  /** Ends a rank's thread wherever it is. */
  terminate(rank: number): Promise<unknown>;
}

export function startLocalTeam(
  memory: TeamMemory,
  localRanks: readonly number[],
  scenario: ScenarioName,
  deadlineMs: number,
  onReached: (rank: number) => void,
): LocalTeam {
  const outcomes = new Map<number, string>();
  const workers = new Map<number, Worker>();
  const ends = localRanks.map((rank) => {
    const workerData: RankData = { buffer: memory.buffer, rank, ranks: memory.ranks, scenario, deadlineMs };
    const worker = new Worker(new URL('./collective-rank.ts', import.meta.url), { workerData });
    workers.set(rank, worker);
    worker.on('message', (message: RankMessage) => {
      if (message.kind === 'reached') onReached(message.rank);
      else outcomes.set(message.rank, message.outcome);
    });
    worker.on('error', (error) => memory.abort(`rank ${rank} failed: ${error.message}`));
    return new Promise<void>((resolve) => {
      worker.on('exit', () => {
        if (!outcomes.has(rank)) memory.abort(`rank ${rank} ended early`);
        resolve();
      });
    });
  });
  return {
    outcomes: Promise.all(ends).then(() => outcomes),
    terminate: (rank) => workers.get(rank)?.terminate() ?? Promise.resolve(),
  };
}
