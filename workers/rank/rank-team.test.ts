import { fork } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { TriremeError } from '#platform/errors.ts';
import { demoPackage, scratchFolder } from '../../test/numerics/demo-package.ts';
import { redigest } from '../../test/numerics/redigest.ts';
import { type Misbehaviour, openGate, type UnrulyJob } from '../../test/numerics/unruly-leader.ts';
import { openRankGate } from '../collectives/rank-gate.ts';
import { RankTeam, type RankTeamOptions } from './rank-team.ts';

const serving = { kvBlocks: 8, maxSequences: 2, stepTokens: 16, maxWaiting: 0, adapters: undefined };
const module = new URL('../../test/numerics/unruly-leader.ts', import.meta.url).href;

interface Run {
  readonly team: RankTeam;
  /** Lets the leader do what it is there for; once the team runs, its end is the team's. */
  readonly misbehave: () => void;
  /** Resolves with what onOver was told: undefined when all went well. */
  readonly over: Promise<TriremeError | undefined>;
  /** Every call of onOver. */
  readonly calls: (TriremeError | undefined)[];
  readonly results: unknown[];
}

async function start(ranks: number, job: Misbehaviour, more: Partial<RankTeamOptions> = {}): Promise<Run> {
  const over = Promise.withResolvers<TriremeError | undefined>();
  const calls: (TriremeError | undefined)[] = [];
  const results: unknown[] = [];
  const data: UnrulyJob = { misbehaviour: job, gate: new SharedArrayBuffer(4) };
  const team = await RankTeam.start({
    packagePath: await demoPackage(ranks, 'int4'),
    ranks,
    localRanks: Array.from({ length: ranks }, (_, rank) => rank),
    serving,
    job: { module, data },
    events: {
      onProgress: () => {},
      onResult: (value) => results.push(value),
      onOver: (error) => {
        calls.push(error);
        over.resolve(error);
      },
      onStuck: (error) => over.reject(error),
    },
    ...more,
  });
  return { team, misbehave: () => openGate(data.gate), over: over.promise, calls, results };
}

test('a job that finishes ends every rank without an error', async () => {
  const { team, misbehave, over, calls, results } = await start(2, 'finish');
  misbehave();
  expect(await over).toBeUndefined();
  await team.end();
  expect([calls.length, results]).toEqual([1, ['here']]);
});

test('a leader that throws ends the others at once, and the owner hears of it once', async () => {
  const { team, misbehave, over, calls } = await start(2, 'throw');
  const started = performance.now();
  misbehave();
  // By the rank's own message or by the abort word, whichever this thread sees first.
  expect((await over)?.message).toMatch(/something broke$/);
  await team.end();
  expect(performance.now() - started).toBeLessThan(2000);
  expect(calls).toHaveLength(1);
});

test('a leader whose thread exits does too', async () => {
  const { team, misbehave, over, calls } = await start(2, 'exit');
  misbehave();
  expect(await over).toMatchObject({
    code: 'RANK_FAILED',
    message: expect.stringMatching(/rank 0.* exited with status 3/),
  });
  await team.end();
  expect(calls).toHaveLength(1);
});

test('an abort ends ranks that work and ranks that wait', async () => {
  const { team, misbehave, over } = await start(2, 'linger');
  misbehave();
  team.abort('enough');
  expect(await over).toMatchObject({ code: 'RANK_FAILED', message: 'enough' });
  await team.end();
});

test('ending a team that still works aborts it and tells nobody; ending it again is the same end', async () => {
  const { team, misbehave, calls } = await start(1, 'linger');
  misbehave();
  await Promise.all([team.end(), team.end()]);
  await team.end();
  expect(calls).toEqual([]);
});

test('a signal ends loading with its own reason, and no thread stays', async () => {
  const controller = new AbortController();
  const onProgress: RankTeamOptions['events']['onProgress'] = ({ stage, done }) => {
    if (stage === 2 && done > 3) controller.abort(new Error('never mind'));
  };
  const events = { onProgress, onResult: () => {}, onOver: () => {}, onStuck: () => {} };
  await expect(start(2, 'linger', { signal: controller.signal, events })).rejects.toThrow('never mind');
});

test('a piece that ONNX Runtime refuses ends the start with its message, not with that of a rank pulled along', async () => {
  const folder = path.join(scratchFolder(), 'broken-piece');
  cpSync(await demoPackage(2, 'int4'), folder, { recursive: true });
  const graphs = path.join(folder, 'rank-1', 'graphs.bin');
  const bytes = readFileSync(graphs);
  bytes.fill(0xff, bytes.length - 400, bytes.length - 100);
  writeFileSync(graphs, bytes);
  await redigest(folder, ['rank-1/graphs.bin']);
  await expect(start(2, 'linger', { packagePath: folder })).rejects.toMatchObject({
    code: 'RUNTIME_ERROR',
    message: expect.stringMatching(/ONNX Runtime could not/),
  });
});

for (const [misbehaviour, reason] of [
  ['throw', /something broke/],
  ['exit', /exited with status 3/],
  ['crash', /lost the process of rank 0/],
] as const) {
  test(`ranks of other processes hear at once of a leader that does: ${misbehaviour}`, async () => {
    const packagePath = await demoPackage(2, 'int4');
    const script = new URL('../../test/numerics/unruly-process.ts', import.meta.url);
    const child = fork(script, [packagePath, misbehaviour], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    const exited = once(child, 'exit');
    const early = exited.then(() => Promise.reject(new Error('the process that leads did not get to its gate')));
    const [address] = (await Promise.race([once(child, 'message'), early])) as [string];
    const gate = await openRankGate('127.0.0.1:0');
    const addresses = [address, gate.address];
    child.send(addresses);
    const remote = { gate, group: 'g', epoch: 1, addresses, secret: Buffer.from('secret') };
    const { team, over } = await start(2, 'linger', { packagePath, localRanks: [1], remote });
    child.send('misbehave');
    expect(await over).toMatchObject({ code: 'RANK_FAILED', message: expect.stringMatching(reason) });
    await team.end();
    await gate.close();
    child.kill();
    await exited;
  });
}
