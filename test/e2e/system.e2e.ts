import { afterAll, beforeAll, expect, test } from 'vitest';
import { GroupState } from '../../proto/gen/records.ts';
import { eventually } from '../contract/eventually.ts';
import { generate, greedy } from './generation.ts';
import { TestSystem } from './start-system.ts';

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
