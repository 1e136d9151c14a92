import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  byteSize,
  type ConfigOf,
  decimal,
  describeConfig,
  durationMs,
  integer,
  listenAddress,
  loadConfig,
  oneOf,
  optional,
  text,
  textList,
  toggle,
  urls,
} from './config.ts';
import { TriremeError } from './errors.ts';

const fields = {
  etcdUrl: optional(urls(['http', 'https'], { help: 'where etcd is' })),
  listen: listenAddress({ default: '127.0.0.1:0', help: 'where clients connect' }),
  queueLimit: integer({ default: 100, min: 1, max: 1000, help: 'requests that wait' }),
  share: decimal({ default: 0.5, max: 1, help: 'a share' }),
  reflection: toggle({ default: true, help: 'serve reflection' }),
  policy: oneOf(['least-loaded', 'round-robin'], { default: 'least-loaded', help: 'which group' }),
  drain: durationMs({ default: 30_000, min: 100, help: 'how long to drain' }),
  maxMessage: byteSize({ default: 1 << 20, help: 'longest message' }),
  labels: textList({ default: [], help: 'labels' }),
};
const folder = mkdtempSync(path.join(tmpdir(), 'trireme-config-'));
afterAll(() => rmSync(folder, { recursive: true }));

function fileWith(content: string): string {
  const file = path.join(
    folder,
    `${Math.abs(content.length)}-${Buffer.from(content).toString('hex').slice(0, 60)}.yaml`,
  );
  writeFileSync(file, content);
  return file;
}

const load = (argv: readonly string[] = [], env: Record<string, string> = {}): ConfigOf<typeof fields> =>
  loadConfig(fields, { argv, env });

function refusal(argv: readonly string[] = [], env: Record<string, string> = {}): string {
  try {
    load(argv, env);
  } catch (error) {
    expect(error).toBeInstanceOf(TriremeError);
    expect(TriremeError.from(error).code).toBe('INVALID_CONFIG');
    return TriremeError.from(error).toLine();
  }
  throw new Error('was accepted');
}

test('without sources every field has its default, and the record is frozen', () => {
  const config = load();
  expect(config).toEqual({
    etcdUrl: undefined,
    listen: '127.0.0.1:0',
    queueLimit: 100,
    share: 0.5,
    reflection: true,
    policy: 'least-loaded',
    drain: 30_000,
    maxMessage: 1 << 20,
    labels: [],
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test('flags win over variables, variables over the file, the file over defaults', () => {
  const file = fileWith('queueLimit: 1\ndrain: 1s\npolicy: round-robin\nshare: 0.25\n');
  const config = load(['--config', file, '--queue-limit', '3'], { TRIREME_QUEUE_LIMIT: '2', TRIREME_DRAIN: '2s' });
  expect([config.queueLimit, config.drain, config.policy, config.share]).toEqual([3, 2000, 'round-robin', 0.25]);
  expect(load([], { TRIREME_CONFIG: file }).queueLimit).toBe(1);
});

test('each kind of field reads its forms', () => {
  const config = load([
    '--etcd-url=http://127.0.0.1:2379,http://b:2379',
    '--no-reflection',
    '--drain=1.5s',
    '--max-message=64KiB',
    '--labels=a, b',
    '--listen=[::1]:9010',
  ]);
  expect(config.etcdUrl).toEqual(['http://127.0.0.1:2379', 'http://b:2379']);
  expect([config.reflection, config.drain, config.maxMessage, config.listen]).toEqual([
    false,
    1500,
    65_536,
    '[::1]:9010',
  ]);
  expect(config.labels).toEqual(['a', 'b']);
  expect(load(['--reflection=false']).reflection).toBe(false);
  expect(load(['--reflection']).reflection).toBe(true);
});

test('an unknown flag, variable, key or argument stops start-up and is named beside the known ones', () => {
  expect(refusal(['--queue-limt', '3'])).toMatch(/unknown flag --queue-limt\. known: .*--queue-limit/);
  expect(refusal([], { TRIREME_QUEUE: '3' })).toMatch(/unknown variable TRIREME_QUEUE\. known: .*TRIREME_QUEUE_LIMIT/);
  const file = fileWith('queue: 3\n');
  expect(refusal(['--config', file])).toMatch(/unknown key queue in .*yaml\. known: .*queueLimit/);
  expect(refusal(['serve'])).toContain('unknown argument "serve"');
  expect(refusal(['-q'])).toContain('unknown flag -q');
});

test('variables that Kubernetes makes for services are not ours', () => {
  const links = {
    TRIREME_ROUTER_SERVICE_HOST: '10.0.0.1',
    TRIREME_ROUTER_SERVICE_PORT_GRPC: '9010',
    TRIREME_ROUTER_PORT: 'tcp://10.0.0.1:9010',
    TRIREME_ROUTER_PORT_9010_TCP_ADDR: '10.0.0.1',
  };
  expect(load([], links).queueLimit).toBe(100);
});

test.each([
  [['--queue-limit', '0'], /flag --queue-limit: "0" is not allowed\. expected a whole number from 1 to 1000/],
  [['--queue-limit', '1e2'], /expected a whole number/],
  [['--queue-limit', '7.5'], /expected a whole number/],
  [['--share', '1.1'], /expected a number from 0 to 1/],
  [['--reflection=yes'], /"yes" is not allowed\. expected true or false/],
  [['--policy', 'random'], /expected one of least-loaded, round-robin/],
  [['--drain', '30'], /flag --drain: "30" is not allowed\. expected a duration with its unit/],
  [['--drain', '99ms'], /from 100ms to 2147483647ms/],
  [['--drain', '1000h'], /"1000h" is not allowed/],
  [['--max-message', '1MB'], /expected a size with its unit/],
  [['--listen', '9010'], /expected host:port/],
  [['--listen', '127.0.0.1:70000'], /expected host:port/],
  [['--etcd-url', '127.0.0.1:2379'], /expected http or https URLs/],
  [['--etcd-url'], /flag --etcd-url: "" is not allowed/],
  [['--etcd-url', '--no-reflection'], /flag --etcd-url: "" is not allowed/],
  [['--policy', 'round-robin', '--policy', 'round-robin'], /flag --policy is given twice/],
])('%j is refused with the allowed values', (argv, message) => {
  expect(refusal(argv)).toMatch(message);
});

test('a bad value of a variable or the file says where it came from', () => {
  expect(refusal([], { TRIREME_POLICY: 'x' })).toContain('variable TRIREME_POLICY: "x"');
  expect(refusal(['--config', fileWith('policy: 7\n')])).toMatch(/key policy in .*yaml: 7 is not allowed/);
  expect(refusal(['--config', fileWith('policy: [')])).toMatch(/is not YAML/);
  expect(refusal(['--config', fileWith('policy: round-robin\npolicy: round-robin')])).toMatch(/is not YAML.*unique/);
  expect(refusal(['--config', fileWith('- policy')])).toMatch(/does not hold settings/);
  expect(refusal(['--config', '/nowhere.yaml'])).toMatch(/cannot read the configuration file "\/nowhere.yaml"/);
  expect(load(['--config', fileWith('# nothing set\n')]).queueLimit).toBe(100);
});

test('a field without a default must be set', () => {
  const required = { model: text({ help: 'what to serve' }) };
  expect(() => loadConfig(required, { argv: [], env: {} })).toThrow('model is not set: what to serve');
  expect(loadConfig(required, { argv: ['--model', 'demo'], env: {} }).model).toBe('demo');
});

test('the description lists every flag with its default', () => {
  expect(describeConfig(fields)).toContain(
    '--queue-limit  requests that wait (a whole number from 1 to 1000; default 100)',
  );
  expect(describeConfig(fields).split('\n')).toHaveLength(Object.keys(fields).length + 1);
});
