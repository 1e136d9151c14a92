import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { Chat } from '../../proto/gen/inference.ts';
import { startEtcd } from '../harness/etcd.ts';
import { freePort } from '../harness/free-port.ts';
import { startNats } from '../harness/nats.ts';
import { generate, greedy } from './generation.ts';
import { TestSystem, trireme } from './start-system.ts';

test('up answers a question and exits 0', async () => {
  const up = trireme('up', '--listen', '127.0.0.1:0', '--prompt', 'What is the capital of Norway?');
  expect(await up.exited).toMatchObject({ status: 0 });
  expect(up.output).toContain('The capital of Norway is Oslo.\n');
  expect(up.output).toMatch(/tokens\/s/);
});

test('a busy port ends with 78 and is named', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const { port } = taken.address() as { port: number };
  const up = trireme('up', '--listen', `127.0.0.1:${port}`);
  expect(await up.exited).toMatchObject({ status: 78 });
  expect(up.output).toMatch(new RegExp(`PORT_IN_USE: .*${port}`));
  taken.close();
});

test.each([
  [['up', '--etcd', 'http://127.0.0.1:1'], 78, /INVALID_CONFIG: .*need both/],
  [
    ['slice', '--model', 'models/demo', '--out', '/dev/null/x', '--ranks', '3'],
    64,
    /ILLEGAL_RANK_COUNT.*legal rank counts: 1, 2, 4$/m,
  ],
  [['slice', '--model', 'models/nowhere', '--out', 'nowhere/package', '--ranks', '1'], 66, /NOT_A_CHECKPOINT/],
  [['generate', '--address', '127.0.0.1:1', '--prompt', 'x'], 69, /UNAVAILABLE/],
  [['generate', '--n', 'two', '--prompt', 'x'], 64, /whole number/],
  [['inspect', '.'], 66, /NOT_A_CHECKPOINT/],
])('%j ends with status %i and one line that says why', async (flags, status, message) => {
  const command = trireme(...flags);
  expect(await command.exited).toMatchObject({ status });
  expect(command.output).toMatch(message);
});

test('a group whose two ranks live in two processes answers as any other', async () => {
  const system = await TestSystem.start('--ranks', '2', '--workers', '2');
  try {
    const { text } = await generate(system.client, {
      ...greedy('', 20),
      prompt: { $case: 'chat', value: Chat.fromPartial({ messages: [{ role: 'user', content: 'What is 17 + 25?' }] }) },
      sampling: undefined,
    });
    expect(text).toContain('42');
    const [group] = (await system.client.status()).groups;
    expect(new Set(group?.record?.ranks.map(({ worker }) => worker)).size).toBe(2);
  } finally {
    await system.stop();
  }
});

test('without etcd a process waits, says so, and ends with 69 when it was told not to wait longer', async () => {
  const port = await freePort();
  const up = trireme('up', '--etcd', `http://127.0.0.1:${port}`, '--nats', 'nats://127.0.0.1:1', '--wait', '2');
  expect(await up.exited).toMatchObject({ status: 69 });
  expect(up.output).toMatch(/waiting/);
  expect(up.output).toMatch(/STORE_UNAVAILABLE: etcd at http/);
});

test('a process that refuses its settings ends the whole system, instead of being started again and again', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const { port } = taken.address() as { port: number };
  const [etcd, nats] = await Promise.all([startEtcd(), startNats()]);
  try {
    const servers = ['--processes', '--etcd', etcd.url, '--nats', nats.url];
    const up = trireme('up', ...servers, '--listen', `127.0.0.1:${port}`);
    expect(await up.exited).toMatchObject({ status: 78 });
    expect(up.output).toMatch(new RegExp(`PORT_IN_USE: .*${port}`));
    expect(up.output).toMatch(/INVALID_CONFIG: router cannot run/);
  } finally {
    taken.close();
    await Promise.all([etcd.server.stop(), nats.server.stop()]);
  }
});
