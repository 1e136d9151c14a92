import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { openRankGate, type RankGate, splitAddress } from './rank-gate.ts';
import { TcpMirror } from './tcp-mirror.ts';
import { TeamMemory } from './team-memory.ts';

const open: RankGate[] = [];
const mirrors: TcpMirror[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(mirrors.splice(0).map((mirror) => mirror.close()));
  await Promise.all(open.splice(0).map((gate) => gate.close()));
});

async function gates(): Promise<[RankGate, RankGate]> {
  const pair = await Promise.all([openRankGate('127.0.0.1:0'), openRankGate('127.0.0.1:0')]);
  open.push(...pair);
  return pair;
}

interface Side {
  readonly rank: number;
  readonly epoch?: number;
  readonly secret?: string;
  readonly timeoutMs?: number;
  readonly memory?: TeamMemory;
  readonly signal?: AbortSignal;
}

/** One process' half of a group of two ranks at these gates. */
async function join([first, second]: [RankGate, RankGate], side: Side): Promise<TcpMirror> {
  const { rank, epoch = 5, secret = 'right', timeoutMs = 5000, memory = TeamMemory.create(2, 1024), signal } = side;
  const mirror = await TcpMirror.join({
    gate: rank === 0 ? first : second,
    memory,
    group: 'g',
    epoch,
    secret: Buffer.from(secret),
    localRanks: [rank],
    addresses: [first.address, second.address],
    timeoutMs,
    ...(signal ? { signal } : {}),
  });
  mirrors.push(mirror);
  return mirror;
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'joined',
    (error) => `${error.code}: ${error.message}`,
  );

/** Resolves when the memory is aborted. */
async function abortOf(memory: TeamMemory): Promise<string> {
  while (!memory.aborted) await Atomics.waitAsync(memory.words, memory.abortIndex, 0).value;
  return memory.abortReason;
}

test('two processes with the same secret and epoch join, and what one publishes appears at the other', async () => {
  const pair = await gates();
  const [here, there] = [TeamMemory.create(2, 1024), TeamMemory.create(2, 1024)];
  await Promise.all([join(pair, { rank: 0, memory: here }), join(pair, { rank: 1, memory: there })]);
  there.slice(1, 1).set([1, 2, 3]);
  here.enterSleep(1);
  there.publish(1, 1, 3);
  await Atomics.waitAsync(here.words, here.generationIndex(1), 0).value;
  expect([...here.slice(1, 1).subarray(0, here.remainingBytes(1, 1))]).toEqual([1, 2, 3]);
});

test('a dialler with another secret is refused, and the gate still lets the right one in', async () => {
  const pair = await gates();
  const right = join(pair, { rank: 0 });
  expect(await failure(join(pair, { rank: 1, secret: 'wrong' }))).toMatch(/^INVALID_ARGUMENT: .*secret/);
  await join(pair, { rank: 1 });
  await right;
});

test('a dialler with an older epoch is refused with STALE_EPOCH, with a newer one it waits', async () => {
  const pair = await gates();
  const current = failure(join(pair, { rank: 0, timeoutMs: 600 }));
  expect(await failure(join(pair, { rank: 1, epoch: 4 }))).toMatch(/^STALE_EPOCH: .*epoch 5 here, not 4/);
  expect(await failure(join(pair, { rank: 1, epoch: 6, timeoutMs: 300 }))).toMatch(/^DEADLINE_EXCEEDED: rank 0/);
  expect(await current).toMatch(/^DEADLINE_EXCEEDED: rank 1 did not join within 600 ms/);
});

test('a group that has moved on refuses its old epoch even when nobody forms', async () => {
  const pair = await gates();
  await failure(join(pair, { rank: 0, timeoutMs: 10 }));
  expect(await failure(join(pair, { rank: 1, epoch: 3 }))).toMatch(/^STALE_EPOCH/);
});

test('a side with another layout of memory is refused', async () => {
  const pair = await gates();
  const right = failure(join(pair, { rank: 0, timeoutMs: 500 }));
  const memory = TeamMemory.create(2, 2048);
  expect(await failure(join(pair, { rank: 1, memory }))).toMatch(/^INVALID_ARGUMENT: .*differ/);
  expect(await right).toMatch(/^DEADLINE_EXCEEDED/);
});

test('joining ends with the reason of its signal', async () => {
  const pair = await gates();
  const controller = new AbortController();
  const waiting = failure(join(pair, { rank: 0, signal: controller.signal }));
  controller.abort(Object.assign(new Error('changed my mind'), { code: 'X' }));
  expect(await waiting).toBe('X: changed my mind');
});

test('noise at the gate is cut off and does no harm', async () => {
  const pair = await gates();
  const right = join(pair, { rank: 0 });
  const { host, port } = splitAddress(pair[0].address);
  const noise = connect(port, host);
  sockets.push(noise);
  noise.write(Buffer.alloc(100_000, 0xff));
  noise.on('error', () => {}); // a reset is one of the ways to be cut off
  await new Promise((resolve) => noise.on('close', resolve).resume());
  await join(pair, { rank: 1 });
  await right;
});

test('a part out of turn aborts the team instead of being believed', async () => {
  const pair = await gates();
  const [here, there] = [TeamMemory.create(2, 1024), TeamMemory.create(2, 1024)];
  await Promise.all([join(pair, { rank: 0, memory: here }), join(pair, { rank: 1, memory: there })]);
  here.publish(1, 7, 0);
  there.publish(1, 1, 0);
  expect(await abortOf(here)).toMatch(/rank 1, generation 1, out of turn/);
});

test('an abort travels with its reason, and leaving does not abort', async () => {
  const pair = await gates();
  const [here, there] = [TeamMemory.create(2, 1024), TeamMemory.create(2, 1024)];
  const [leaver] = await Promise.all([join(pair, { rank: 0, memory: here }), join(pair, { rank: 1, memory: there })]);
  await leaver.close();
  expect(there.aborted).toBe(false);
  const again = await gates();
  const [one, two] = [TeamMemory.create(2, 1024), TeamMemory.create(2, 1024)];
  await Promise.all([join(again, { rank: 0, memory: one }), join(again, { rank: 1, memory: two })]);
  one.abort('a reason');
  expect(await abortOf(two)).toBe('a reason');
});

test('a busy port and a bad address are named', async () => {
  const [gate] = await gates();
  await expect(openRankGate(gate.address)).rejects.toMatchObject({ code: 'PORT_IN_USE' });
  for (const address of ['nonsense', 'host:', 'host:70000', ':80']) {
    expect(() => splitAddress(address)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }));
  }
  expect(splitAddress('[::1]:80')).toEqual({ host: '::1', port: 80 });
});
