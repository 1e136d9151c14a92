/**
 * The thread of one rank: load, wait for the group, test the collective, run a first step, then lead or follow until told to
 * stop; then the same for whatever rank comes next. However a rank ends, its team hears of it: in the shared memory at once,
 * in a message with the reason. A thread whose rank has failed ends.
 */
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort } from 'node:worker_threads';
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import { AdapterMemory } from '../adapters/adapter-memory.ts';
import { SharedCollective } from '../collectives/shared-collective.ts';
import { TeamMemory } from '../collectives/team-memory.ts';
import { OrtRuntime } from '../runtime/ort-runtime.ts';
import { LeaderRunner, runFollower } from './leader-runner.ts';
import { readManifest, shardFor } from './package.ts';
import { PieceOpener } from './piece-opener.ts';
import type { LeaderJob, RankMessage, RankThreadData, RunLeader } from './rank-messages.ts';
import { RankModel } from './rank-model.ts';
import { testCollective, warmUp } from './self-test.ts';

/** How often a rank that waits for the group looks whether there still is one. */
const napMs = 100;

assert(parentPort, 'this module runs in a thread');
const port = parentPort;
const post = (message: RankMessage): void => port.postMessage(message);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function checkAbort(memory: TeamMemory): void {
  if (memory.aborted) throw new TriremeError('RANK_FAILED', memory.abortReason);
}

function load(data: RankThreadData, memory: TeamMemory, runtime: OrtRuntime, collective: SharedCollective) {
  const { packagePath, rank, ranks, serving } = data;
  const manifest = readManifest(packagePath);
  const shard = shardFor(manifest, rank, ranks);
  const onProgress = (opened: number, total: number): void => {
    checkAbort(memory);
    post({ kind: 'loading', opened, total });
  };
  const opener = new PieceOpener({ runtime, folder: packagePath, shard, onProgress });
  try {
    const { kvBlocks: blocks, maxSequences: slots, stepTokens: maxRows } = serving;
    const piece = (name: string) => opener.open(name);
    const vector = (name: string) => opener.readVector(name);
    const { adapters } = data;
    const adapterMemory = adapters && AdapterMemory.attach(shard, adapters.capacity, adapters.buffer);
    const kept = { blocks, slots, maxRows, adapterMemory };
    const model = new RankModel({ runtime, manifest, shard, piece, vector, collective, ...kept });
    return { manifest, model };
  } finally {
    opener.close();
  }
}

/** Blocks until every rank of the group has loaded, wherever it is. */
function awaitGroup(start: SharedArrayBuffer, memory: TeamMemory): void {
  const word = new Int32Array(start);
  while (Atomics.load(word, 0) === 0) {
    checkAbort(memory);
    Atomics.wait(word, 0, 0, napMs);
  }
}

async function run(data: RankThreadData, memory: TeamMemory): Promise<void> {
  const { serving, job, runtimeLibrary, runSwitch } = data;
  const runtime = new OrtRuntime({ runSwitch, ...(runtimeLibrary ? { library: runtimeLibrary } : {}) });
  try {
    const collective = new SharedCollective(memory, data.rank);
    const { manifest, model } = load(data, memory, runtime, collective);
    post({ kind: 'loaded' });
    awaitGroup(data.start, memory);
    testCollective(collective);
    if (data.rank !== 0)
      return runFollower(
        model,
        collective,
        announceOnce(() => post({ kind: 'warm' })),
      );
    assert(job, 'rank 0 has a job');
    const runner = new LeaderRunner(model, collective, manifest);
    warmUp(runner, serving);
    post({ kind: 'warm' });
    const runLeader = await leaderOf(job);
    const postResult = (value: unknown): void => post({ kind: 'result', value });
    const context = { manifest, serving, runner, model, checkAbort: () => checkAbort(memory), post: postResult };
    runLeader(context, job.data as never);
    runner.stop();
  } finally {
    runtime.close();
  }
}

async function leaderOf(job: LeaderJob): Promise<RunLeader> {
  const { runLeader } = (await import(job.module)) as { runLeader: RunLeader };
  return runLeader;
}

function announceOnce(announce: () => void): () => void {
  let isDone = false;
  return () => {
    if (!isDone) announce();
    isDone = true;
  };
}

/** What a rank leaves behind, its cache of keys and values above all, goes now and not when the next one needs room. */
async function cleanUp(): Promise<void> {
  await setImmediate();
  collectGarbage();
}

let running: { readonly name: string; readonly memory: TeamMemory } | undefined;
process.on('exit', (status) => running?.memory.abort(`${running.name} exited with status ${status}`));

async function runRank(data: RankThreadData): Promise<void> {
  const memory = TeamMemory.attach(data.memory, data.ranks);
  const name = `rank ${data.rank}`;
  running = { name, memory };
  try {
    await run(data, memory);
    running = undefined;
    await cleanUp();
    post({ kind: 'finished' });
  } catch (cause) {
    const { code, message, remedy } = TriremeError.from(cause);
    post({ kind: 'failed', code, message, remedy });
    memory.abort(code === 'RANK_FAILED' ? message : `${name}: ${code}: ${message}`);
    running = undefined;
    port.close();
  }
}

port.on('message', (data: RankThreadData) => void runRank(data));
