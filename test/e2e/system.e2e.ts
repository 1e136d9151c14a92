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

test('a worker killed in mid-stream ends its requests within 2 s, the other group goes on, and the group forms again', async () => {
  const before = new Map((await readyGroups()).map(({ record }) => [record!.group, record!]));
  const flowing = Promise.withResolvers<void>();
  const started = new Map<number, string>();
  const outcomes = Array.from({ length: 8 }, (_, i) =>
    generate(system.client, greedy(`Ahab ${i}`, 400), (group, count) => {
      if (count > 4) started.set(i, group);
      if (started.size === 8) flowing.resolve();
    }).then(
      ({ tokens, group }) => ({ group, tokens: tokens.length, endMs: performance.now(), code: 'OK' }),
      (error: { code: string }) => ({ group: started.get(i)!, tokens: 0, endMs: performance.now(), code: error.code }),
    ),
  );
  await Promise.race([flowing.promise, Promise.all(outcomes)]);
  const victim = [...before.values()].find((record) => record.ranks[0]!.worker === 'worker-0')!;
  const pid = system.pidOf('worker-0');
  const killedMs = performance.now();
  process.kill(pid, 'SIGKILL');
  const ended = await Promise.all(outcomes);
  const [hit, spared] = [
    ended.filter(({ group }) => group === victim.group),
    ended.filter(({ group }) => group !== victim.group),
  ];
  expect([hit.length, spared.length]).toEqual([4, 4]);
  for (const { code, endMs } of hit) {
    expect(code).toBe('UNAVAILABLE');
    expect(endMs - killedMs).toBeLessThan(2000);
  }
  for (const { code, tokens } of spared) expect([code, tokens]).toEqual(['OK', 400]);
  await eventually(async () => {
    const again = (await readyGroups()).find(({ record }) => record!.group === victim.group)?.record;
    expect(again?.epoch).toBeGreaterThan(victim.epoch);
  }, 30_000);
  const untouched = (await readyGroups()).find(({ record }) => record!.group !== victim.group)?.record;
  expect(untouched?.epoch).toBe(before.get(untouched!.group)!.epoch);
  expect((await generate(system.client, greedy('Ishmael', 8))).tokens).toHaveLength(8);
});
