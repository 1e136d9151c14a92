import { type ChildProcess, fork } from 'node:child_process';
import {
  type CollectiveSetting,
  collectiveContract,
  contractSliceBytes,
} from '../../test/contract/collective-contract.ts';
import type { ProcessMessage, ProcessOrders } from '../../test/contract/collective-process.ts';
import { startLocalTeam } from '../../test/contract/collective-team.ts';
import { TeamMemory } from './team-memory.ts';

/** Calls back once `count` ranks have said that they are there. */
function whenAllReached(count: number, callback: () => void): () => void {
  let reached = 0;
  return () => {
    if (++reached === count) callback();
  };
}

function threads(ranks: number): CollectiveSetting {
  return {
    name: `${ranks} rank${ranks > 1 ? 's' : ''} in threads`,
    ranks,
    killedRanks: [ranks - 1],
    run: async ({ scenario, deadlineMs, onReached }) => {
      const memory = TeamMemory.create(ranks, contractSliceBytes);
      const localRanks = Array.from({ length: ranks }, (_, rank) => rank);
      const control = {
        abort: () => memory.abort('somebody aborted'),
        kill: () => void team.terminate(ranks - 1),
      };
      const reached = whenAllReached(ranks, () => onReached(control));
      const team = startLocalTeam(memory, localRanks, scenario, deadlineMs, reached);
      const outcomes = await team.outcomes;
      return localRanks.map((rank) => outcomes.get(rank));
    },
  };
}

/** Messages of a child until it exits. */
function messagesOf(child: ChildProcess, onMessage: (message: ProcessMessage) => void): Promise<void> {
  child.on('message', onMessage);
  return new Promise((resolve) => child.on('exit', () => resolve()));
}

/** One child process for each entry, with that many ranks. */
function processes(ranksOf: readonly number[]): CollectiveSetting {
  const ranks = ranksOf.reduce((sum, count) => sum + count, 0);
  let next = 0;
  const localRanks = ranksOf.map((count) => Array.from({ length: count }, () => next++));
  return {
    name: `${ranksOf.join(' + ')} ranks in ${ranksOf.length} processes`,
    ranks,
    killedRanks: localRanks.at(-1)!,
    run: async ({ scenario, deadlineMs, onReached }) => {
      const outcomes = new Map<number, string>();
      const script = new URL('../../test/contract/collective-process.ts', import.meta.url);
      const children = localRanks.map(() => fork(script));
      const control = { abort: () => children[0]!.send('abort'), kill: () => children.at(-1)!.kill('SIGKILL') };
      const reached = whenAllReached(ranks, () => onReached(control));
      const addresses: string[] = [];
      const listening = Promise.withResolvers<void>();
      const ends = children.map((child, index) =>
        messagesOf(child, (message) => {
          if (message.kind === 'reached') reached();
          if (message.kind === 'done') for (const [rank, outcome] of message.outcomes) outcomes.set(rank, outcome);
          if (message.kind !== 'listening') return;
          for (const rank of localRanks[index]!) addresses[rank] = message.address;
          if (Object.keys(addresses).length === ranks) listening.resolve();
        }),
      );
      await listening.promise;
      for (const [index, child] of children.entries()) {
        const own = localRanks[index]!;
        child.send({
          localRanks: own,
          addresses,
          sliceBytes: contractSliceBytes,
          scenario,
          deadlineMs,
        } satisfies ProcessOrders);
      }
      await Promise.all(ends);
      return Array.from({ length: ranks }, (_, rank) => outcomes.get(rank));
    },
  };
}

for (const ranks of [1, 2, 3, 4]) collectiveContract(threads(ranks));
collectiveContract(processes([1, 1]));
collectiveContract(processes([2, 2]));
collectiveContract(processes([1, 2, 1]));
