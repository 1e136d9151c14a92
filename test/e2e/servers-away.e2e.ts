/** A process that does not find what it needs at its start: etcd, NATS, a free port, settings that can be read. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startEtcd, type TestEtcd } from '../harness/etcd.ts';
import { startNats, type TestNats } from '../harness/nats.ts';
import { scratchFolder } from '../numerics/demo-package.ts';
import { lastLine, run, runScript } from './refusal.ts';

/** Nobody but root may listen there, and no system of ours does. */
const nobodyThere = { etcd: 'http://127.0.0.1:1', nats: 'nats://127.0.0.1:1' };
let etcd: TestEtcd;
let nats: TestNats;
beforeAll(async () => {
  [etcd, nats] = await Promise.all([startEtcd(), startNats()]);
});
afterAll(() => Promise.all([etcd?.server.stop(), nats?.server.stop()]));

const taken: Server[] = [];
afterEach(() => {
  for (const server of taken.splice(0)) server.close();
});

/** An address on which somebody listens already. */
async function takenAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  taken.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

const waitsOnce = (stderr: string, name: string): void => {
  const notices = stderr.split('\n').filter((line) => line.includes(`"msg":"waiting for ${name}"`));
  expect(notices, stderr).toHaveLength(1);
  expect(JSON.parse(notices[0]!)).toMatchObject({
    url: expect.stringContaining('//127.0.0.1:1'),
    limitMs: expect.any(Number),
  });
};

test('up waits for an absent etcd, says so, and ends with 69', async () => {
  const outcome = await run(['up', '--etcd', nobodyThere.etcd, '--nats', nats.url, '--wait', '2']);
  const { code, status, line } = lastLine(outcome);
  expect([code, status]).toEqual(['STORE_UNAVAILABLE', 69]);
  expect(line).toMatch(/etcd at http:\/\/127.0.0.1:1 did not answer within 2000 ms. start etcd there, or configure/);
  waitsOnce(outcome.stderr, 'etcd');
});

test('up waits for an absent NATS, says so, and ends with 69', async () => {
  const outcome = await run(['up', '--etcd', etcd.url, '--nats', nobodyThere.nats, '--wait', '2']);
  const { code, status, line } = lastLine(outcome);
  expect([code, status]).toEqual(['BUS_UNAVAILABLE', 69]);
  expect(line).toMatch(/NATS at nats:\/\/127.0.0.1:1 did not answer within 2000 ms. start NATS there, or configure/);
  waitsOnce(outcome.stderr, 'NATS');
});

test('with --json the end of the wait is an object', async () => {
  const { status, stderr } = await run(['up', '--etcd', nobodyThere.etcd, '--nats', nats.url, '--wait', '1', '--json']);
  const { error } = JSON.parse(stderr.trimEnd().split('\n').at(-1)!);
  expect([status, error.code, error.exit]).toEqual([69, 'STORE_UNAVAILABLE', 69]);
});

test('a command that only writes to etcd waits no longer than it is told', async () => {
  const outcome = await run(['models', 'delete', 'demo', '--etcd', nobodyThere.etcd, '--wait', '1']);
  expect(lastLine(outcome)).toMatchObject({ code: 'STORE_UNAVAILABLE', status: 69 });
});

const processes = ['services/router/main.ts', 'services/controller/main.ts', 'workers/worker/main.ts'];
/** Those that carry tokens. */
const onTheBus = ['services/router/main.ts', 'workers/worker/main.ts'];

test.each(processes)('%s waits for etcd aloud, then ends with 69', async (main) => {
  const { status, stderr } = await runScript(main, [`--etcd-url=${nobodyThere.etcd}`, '--start-wait=1s']);
  waitsOnce(stderr, 'etcd');
  expect([status, fatalOf(stderr)]).toEqual([
    69,
    expect.stringMatching(/^STORE_UNAVAILABLE: etcd at .* start etcd there/),
  ]);
});

test.each(onTheBus)('%s waits for NATS aloud, then ends with 69', async (main) => {
  const flags = [`--etcd-url=${etcd.url}`, `--nats-url=${nobodyThere.nats}`, '--start-wait=1s'];
  const { status, stderr } = await runScript(main, flags);
  waitsOnce(stderr, 'NATS');
  expect([status, fatalOf(stderr)]).toEqual([
    69,
    expect.stringMatching(/^BUS_UNAVAILABLE: NATS at .* start NATS there/),
  ]);
});

/** The message of the last line of a process' log. */
function fatalOf(stderr: string): string {
  const { level, msg } = JSON.parse(stderr.trimEnd().split('\n').at(-1)!) as { level: number; msg: string };
  expect(level).toBe(60);
  return msg;
}

test('a busy port ends up with 78, and is named with a remedy', async () => {
  const address = await takenAddress();
  const { code, status, line } = lastLine(await run(['up', '--listen', address]));
  expect([code, status]).toEqual(['PORT_IN_USE', 78]);
  expect(line).toBe(
    `PORT_IN_USE: ${address} is in use by another process. stop that process or listen on another port; port 0 takes any free one`,
  );
});

test.each([
  ['services/router/main.ts', '--listen'],
  ['services/router/main.ts', '--metrics-listen'],
  ['workers/worker/main.ts', '--listen'],
  ['workers/worker/main.ts', '--rank-listen'],
])('%s ends with 78 when the port of %s is busy', async (main, flag) => {
  const address = await takenAddress();
  const flags = [`--etcd-url=${etcd.url}`, `--nats-url=${nats.url}`, `${flag}=${address}`];
  const { status, stderr } = await runScript(main, flags);
  expect([status, fatalOf(stderr)]).toEqual([
    78,
    expect.stringMatching(new RegExp(`^PORT_IN_USE: .*${address}.* port 0 `)),
  ]);
});

test('a process that refuses its settings ends the whole system, instead of being started again and again', async () => {
  const address = await takenAddress();
  const servers = ['--processes', '--etcd', etcd.url, '--nats', nats.url];
  const outcome = await run(['up', ...servers, '--listen', address]);
  expect(outcome.stderr).toMatch(new RegExp(`PORT_IN_USE: .*${address}`));
  const { status, line } = lastLine(outcome);
  expect([status, line]).toEqual([78, expect.stringMatching(/^INVALID_CONFIG: router cannot run/)]);
});

let files = 0;
function settings(content: string | Uint8Array): string {
  const file = path.join(scratchFolder(), `settings-${files++}.yaml`);
  writeFileSync(file, content);
  return file;
}

function folderInstead(): string {
  const folder = path.join(scratchFolder(), 'settings-folder');
  mkdirSync(folder, { recursive: true });
  return folder;
}

const badSettings: readonly (readonly [what: string, make: () => string, message: RegExp])[] = [
  ['bytes that are no UTF-8', () => settings(Buffer.from([0x61, 0x3a, 0x20, 0xff])), /: it is not UTF-8/],
  ['a key twice', () => settings('logLevel: info\nlogLevel: warn\n'), /is not YAML: Map keys must be unique/],
  ['a key that nobody knows', () => settings('colour: red\n'), /unknown key colour in .*known: /],
  ['a value that cannot be', () => settings('logLevel: loud\n'), /logLevel.*"loud" is not allowed. expected/],
  ['no settings but a list', () => settings('- a\n'), /does not hold settings. write one/],
  ['half a line', () => settings('a: [\n'), /is not YAML/],
  ['nothing, for it is a folder', folderInstead, /EISDIR/],
  ['nothing, for there is no such file', () => '/nowhere/settings.yaml', /ENOENT.*must name a YAML file/],
];

test.each(badSettings)('settings with %s stop the start with 78 and one line', async (_, make, message) => {
  const { status, stdout, stderr } = await runScript('services/controller/main.ts', ['--config', make()]);
  expect([status, stdout, stderr.trimEnd().split('\n').length]).toEqual([78, '', 1]);
  expect(stderr).toMatch(/^INVALID_CONFIG: /);
  expect(stderr).toMatch(message);
});

test('a package that is none is refused before etcd is asked', async () => {
  const outcome = await run(['models', 'set', '--package', '/nowhere', '--etcd', nobodyThere.etcd]);
  expect(lastLine(outcome)).toMatchObject({ code: 'NOT_A_PACKAGE', status: 66 });
});
