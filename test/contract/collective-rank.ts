/** A rank of a collective case: a thread that runs a scenario and posts what came of it. */
import { parentPort, workerData } from 'node:worker_threads';
import { TriremeError } from '#platform/errors.ts';
import { SharedCollective } from '../../workers/collectives/shared-collective.ts';
import { TeamMemory } from '../../workers/collectives/team-memory.ts';
import { type ScenarioName, scenarios } from './collective-scenarios.ts';

export interface RankData {
  readonly buffer: SharedArrayBuffer;
  readonly rank: number;
  readonly ranks: number;
  readonly scenario: ScenarioName;
  readonly deadlineMs: number;
}

export type RankMessage =
  | { readonly kind: 'reached'; readonly rank: number }
  | { readonly kind: 'done'; readonly rank: number; readonly outcome: string };

const { buffer, rank, ranks, scenario, deadlineMs } = workerData as RankData;
const memory = TeamMemory.attach(buffer, ranks);
const own = new Int32Array(new SharedArrayBuffer(4));
const post = (message: RankMessage): void => parentPort?.postMessage(message);

let outcome: string;
try {
  outcome = scenarios[scenario]({
    collective: new SharedCollective(memory, rank, { deadlineMs, spinMs: 0.05 }),
    sliceBytes: memory.sliceBytes,
    sleep: (ms) => void Atomics.wait(own, 0, 0, ms),
    reach: () => post({ kind: 'reached', rank }),
  });
} catch (error) {
  const { code, message } = TriremeError.from(error);
  outcome = `${code}: ${message}`;
}
post({ kind: 'done', rank, outcome });
