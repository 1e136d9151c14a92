import { expect, test } from 'vitest';
import { demoPackage } from '../../test/numerics/demo-package.ts';
import { type Misbehaviour, openGate, type UnrulyJob } from '../../test/numerics/unruly-leader.ts';
import { RankTeam } from './rank-team.ts';
import { keepRankThread, takeRankThread } from './rank-threads.ts';

const module = new URL('../../test/numerics/unruly-leader.ts', import.meta.url).href;

/** Loads the demo model on two ranks, lets the leader do this, and unloads it. */
async function runTeam(misbehaviour: Misbehaviour): Promise<void> {
  const over = Promise.withResolvers<unknown>();
  const data: UnrulyJob = { misbehaviour, gate: new SharedArrayBuffer(4) };
  const team = await RankTeam.start({
    packagePath: await demoPackage(2, 'int4'),
    ranks: 2,
    localRanks: [0, 1],
    serving: { kvBlocks: 8, maxSequences: 2, stepTokens: 16, maxWaiting: 0, adapters: undefined },
    job: { module, data },
    events: { onProgress: () => {}, onResult: () => {}, onOver: over.resolve, onStuck: over.reject },
  });
  openGate(data.gate);
  await over.promise;
  await team.end();
}

/** Ids of two threads that would be taken next. */
function nextThreads(): number[] {
  const threads = [takeRankThread(), takeRankThread()];
  const ids = threads.map(({ threadId }) => threadId);
  threads.map(keepRankThread);
  return ids.sort((a, b) => a - b);
}

test('ranks of one model after the other run on the same threads; a thread that failed is not used again', async () => {
  await runTeam('finish');
  const first = nextThreads();
  await runTeam('finish');
  expect(nextThreads()).toEqual(first);
  await runTeam('throw');
  for (const thread of nextThreads()) expect(first).not.toContain(thread);
  await runTeam('finish');
});
