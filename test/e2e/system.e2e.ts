import { afterAll, beforeAll, expect, test } from 'vitest';
import { GroupState } from '../../proto/gen/records.ts';
import { eventually } from '../contract/eventually.ts';
import { generate, greedy } from './generation.ts';
import { TestSystem, trireme } from './start-system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start('--groups', '2', '--ranks', '2');
});
afterAll(() => system?.stop());

const readyGroups = async () => {
  const { groups } = await system.client.status();
  return groups.filter(({ record, session }) => record?.state === GroupState.GROUP_STATE_READY && session);
};

test('64 streams at once are complete and equal to lone ones, and everything returns to zero', async () => {
  const requests = Array.from({ length: 64 }, (_, i) =>
    greedy('Whale '.repeat(1 + ((i * 7) % 40)) + i, 4 + ((i * 5) % 44)),
  );
  const together = await Promise.all(requests.map((request) => generate(system.client, request)));
  for (const [i, { tokens }] of together.entries()) expect(tokens).toHaveLength(requests[i]!.sampling!.maxTokens!);
  expect(new Set(together.map(({ group }) => group)).size).toBe(2);
  for (const [i, request] of requests.entries()) {
    const { tokens, text } = await generate(system.client, request);
    expect({ i, tokens, text }).toEqual({ i, tokens: together[i]!.tokens, text: together[i]!.text });
  }
  await eventually(async () => {
    const { groups, router } = await system.client.status();
    expect([router?.activeRequests, router?.queuedRequests]).toEqual([0, 0]);
    for (const { engine } of groups) {
      expect(engine).toMatchObject({ running: 0, waiting: 0, freeBlocks: engine?.totalBlocks });
    }
  });
});

test('a worker killed in mid-stream fails nobody: its requests go on at the other group, and its group forms again', async () => {
  const before = new Map((await readyGroups()).map(({ record }) => [record!.group, record!]));
  const requests = Array.from({ length: 8 }, (_, i) => greedy(`Ahab ${i}`, 400));
  const flowing = Promise.withResolvers<void>();
  const started = new Map<number, string>();
  const finished: number[] = [];
  const answers = requests.map(async (request, i) => {
    const answer = await generate(system.client, request, (group, count) => {
      if (count > 4) started.set(i, group);
      if (started.size === requests.length) flowing.resolve();
    });
    finished.push(i);
    return answer;
  });
  await Promise.race([flowing.promise, Promise.all(answers)]);
  const victim = [...before.values()].find((record) => record.ranks[0]!.worker === 'worker-0')!;
  expect([...started.values()].filter((group) => group === victim.group)).toHaveLength(4);
  expect(finished).toEqual([]);
  process.kill(system.pidOf('worker-0'), 'SIGKILL');
  const interrupted = await Promise.all(answers);
  await eventually(async () => {
    const again = (await readyGroups()).find(({ record }) => record!.group === victim.group)?.record;
    expect(again?.epoch).toBeGreaterThan(victim.epoch);
  }, 30_000);
  const untouched = (await readyGroups()).find(({ record }) => record!.group !== victim.group)?.record;
  expect(untouched?.epoch).toBe(before.get(untouched!.group)!.epoch);
  const alone = await Promise.all(requests.map((request) => generate(system.client, request)));
  for (const [i, { tokens, text }] of interrupted.entries()) {
    expect({ i, tokens, text }).toEqual({ i, tokens: alone[i]!.tokens, text: alone[i]!.text });
  }
});

test('draining a group, a worker and a router under load fails nobody, and everything is as before afterwards', async () => {
  const stopped = new AbortController();
  const failures: unknown[] = [];
  let finished = 0;
  const keepAsking = async (i: number): Promise<void> => {
    while (!stopped.signal.aborted) {
      const { tokens } = await generate(system.client, greedy(`Ishmael ${i}`, 120));
      if (tokens.length !== 120) failures.push(`${tokens.length} tokens`);
      finished++;
    }
  };
  const load = Promise.all(Array.from({ length: 8 }, (_, i) => keepAsking(i).catch((error) => failures.push(error))));
  const epochs = new Map((await readyGroups()).map(({ record }) => [record!.group, record!.epoch]));
  const drain = async (...flags: readonly string[]): Promise<void> => {
    const command = trireme('drain', '--address', system.address, ...flags);
    expect(await command.exited).toMatchObject({ status: 0 });
    const done = finished;
    await eventually(() => expect(finished).toBeGreaterThan(done + 8), 30_000);
  };
  const [[group]] = [...epochs] as [[string, number]];
  await drain(group, '--within', '1');
  await drain('worker-1', '--within', '1');
  expect((await readyGroups()).flatMap(({ record }) => record!.ranks.map(({ worker }) => worker))).not.toContain(
    'worker-1',
  );
  await drain('worker-1', '--undo');
  await eventually(async () => expect(await readyGroups()).toHaveLength(2), 30_000);
  process.kill(system.pidOf('worker-0'), 'SIGTERM');
  await eventually(async () => {
    const ready = await readyGroups();
    expect(ready).toHaveLength(2);
    expect(ready.every(({ record }) => record!.epoch > epochs.get(record!.group)!)).toBe(true);
  }, 60_000);
  stopped.abort();
  await load;
  expect(failures).toEqual([]);
  const router = trireme('drain', system.address);
  expect(await router.exited).toMatchObject({ status: 0 });
  await expect(generate(system.client, greedy('x', 1))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(await trireme('drain', system.address, '--undo').exited).toMatchObject({ status: 0 });
  expect((await generate(system.client, greedy('x', 1))).tokens).toHaveLength(1);
  expect(await trireme('drain', 'nobody', '--address', system.address).exited).toMatchObject({ status: 64 });
});
