/** A process of a collective case: opens its gate, learns the others' addresses, joins them, runs its ranks, reports. */
import { openRankGate } from '../../workers/collectives/rank-gate.ts';
import { TcpMirror } from '../../workers/collectives/tcp-mirror.ts';
import { TeamMemory } from '../../workers/collectives/team-memory.ts';
import type { ScenarioName } from './collective-scenarios.ts';
import { startLocalTeam } from './collective-team.ts';

export interface ProcessOrders {
  readonly localRanks: readonly number[];
  readonly addresses: readonly string[];
  readonly sliceBytes: number;
  readonly scenario: ScenarioName;
  readonly deadlineMs: number;
}

export type ProcessMessage =
  | { readonly kind: 'listening'; readonly address: string }
  | { readonly kind: 'reached'; readonly rank: number }
  | { readonly kind: 'done'; readonly outcomes: readonly (readonly [number, string])[] };

const post = (message: ProcessMessage): void => void process.send?.(message);

const gate = await openRankGate('127.0.0.1:0');
process.on('message', async (orders: ProcessOrders | 'abort') => {
  if (orders === 'abort') return memory?.abort('somebody aborted');
  const { localRanks, addresses, sliceBytes, scenario, deadlineMs } = orders;
  memory = TeamMemory.create(addresses.length, sliceBytes);
  const secret = Buffer.from('an epoch secret');
  const group = { group: 'g', epoch: 1, secret, localRanks, addresses, timeoutMs: 10_000 };
  const mirror = await TcpMirror.join({ gate, memory, ...group });
  const team = startLocalTeam(memory, localRanks, scenario, deadlineMs, (rank) => post({ kind: 'reached', rank }));
  const outcomes = await team.outcomes;
  await mirror.close();
  await gate.close();
  post({ kind: 'done', outcomes: [...outcomes] });
  process.disconnect();
});
let memory: TeamMemory | undefined;
post({ kind: 'listening', address: gate.address });
