/** Models of the Hub on the command line: pulled, read, sliced, verified and served by name. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { faults } from '../fakes/hub-answer.ts';
import { HubServer, onlyCommit } from '../fakes/hub-server.ts';
import { type TemporaryFolder, temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import { startProcess, type TestProcess } from '../harness/process.ts';

const root = path.join(import.meta.dirname, '..', '..');
const demo = path.join(root, 'models', 'demo');
const token = 'hf_not_to_be_seen';

let folder: TemporaryFolder;
let server: HubServer;
let commit: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  const names = (await readdir(demo)).sort();
  const contents = await Promise.all(names.map((name) => readFile(path.join(demo, name))));
  const files = Object.fromEntries(names.map((name, i) => [name, new Uint8Array(contents[i]!)]));
  const model = { repo: 'acme/demo', files, cardData: { license: 'cc0-1.0' } };
  commit = onlyCommit(model);
  const secret = { ...model, repo: 'acme/secret', isPrivate: true };
  const gated = { ...model, repo: 'acme/gated', gated: 'auto' as const };
  server = await HubServer.start([model, secret, gated], { tokens: [token] });
});

afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

function trireme(...flags: readonly string[]): TestProcess {
  const unset = { HF_TOKEN: '', HF_HUB_CACHE: '', HUGGINGFACE_HUB_CACHE: '', HF_HUB_OFFLINE: '', HF_TOKEN_PATH: '' };
  const env = { ...unset, HF_ENDPOINT: server.endpoint, HF_HOME: path.join(folder.path, 'home') };
  return startProcess(process.execPath, [path.join(root, 'services/cli/main.ts'), ...flags], { env, cwd: folder.path });
}

async function run(...flags: readonly string[]): Promise<{ status: number | null; output: string }> {
  const running = trireme(...flags);
  const { status } = await running.exited;
  return { status, output: running.output };
}

const snapshot = (repo = 'demo'): string =>
  path.join(folder.path, 'home', 'hub', `models--acme--${repo}`, 'snapshots', commit);

test('pull tells licence and gate first, and prints where the model is', async () => {
  const { status, output } = await run('pull', 'acme/demo');
  expect(status).toBe(0);
  expect(output.split('\n')).toEqual([
    `acme/demo, main is commit ${commit}`,
    'licence cc0-1.0; open to everybody',
    expect.stringMatching(/^files \d+, of them in the cache 0; to load \d+[.]\d MiB$/),
    snapshot(),
    '',
  ]);
});

test('pull --json prints one object, and offline what the cache has', async () => {
  const online = await run('pull', `acme/demo@${commit}`, '--include', '*.json', '--json');
  const pulled = JSON.parse(online.output.trim().split('\n').at(-1) ?? '');
  expect(pulled).toMatchObject({ repo: 'acme/demo', revision: commit, commit, licence: 'cc0-1.0', gated: 'no' });
  expect(pulled.loadedBytes).toBe(pulled.files.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0));
  const asked = server.requests.length;
  const offline = await run('pull', `acme/demo@${commit}`, '--include', '*.json', '--offline', '--json');
  expect(JSON.parse(offline.output)).toMatchObject({ commit, folder: pulled.folder });
  expect(await run('pull', 'acme/demo', '--offline')).toMatchObject({
    status: 66,
    output: expect.stringMatching(/^NOT_CACHED/),
  });
  expect(server.requests).toHaveLength(asked);
});

test('a model of the Hub can be inspected, sliced, verified and served by its name, and is loaded once', async () => {
  const inspected = await run('inspect', 'acme/demo', '--json');
  expect(inspected.output).toContain('no folder acme/demo here, so it is taken for a model of the Hub');
  expect(JSON.parse(inspected.output.trim().split('\n').at(-1) ?? '')).toMatchObject({ kind: 'checkpoint' });
  const asked = server.requests.length;

  const sliced = await run('slice', '--model', 'acme/demo', '--out', 'package', '--ranks', '2', '--weights', 'int4');
  expect(sliced).toMatchObject({ status: 0 });
  const manifest = JSON.parse(await readFile(path.join(folder.path, 'package', 'manifest.json'), 'utf8'));
  expect(manifest.provenance).toMatchObject({ source: 'acme/demo', revision: commit });

  const golden = path.join(root, 'test', 'goldens', 'demo.json');
  expect(await run('verify', '--model', 'acme/demo', '--golden', golden)).toMatchObject({ status: 0 });

  const question = ['--listen', '127.0.0.1:0', '--prompt', 'What is the capital of Norway?'];
  const answered = await run('up', '--model', 'acme/demo', ...question);
  expect(answered).toMatchObject({ status: 0, output: expect.stringContaining('The capital of Norway is Oslo.\n') });
  expect(server.requests).toHaveLength(asked);
});

test('the token comes from the file where other tools keep it, and is never shown', async () => {
  expect(await run('pull', 'acme/secret')).toMatchObject({
    status: 77,
    output: expect.stringMatching(/^HUB_UNAUTHORIZED/m),
  });
  await mkdir(path.join(folder.path, 'home'), { recursive: true });
  await writeFile(path.join(folder.path, 'home', 'token'), `${token}\n`);
  const { status, output } = await run('pull', 'acme/secret');
  expect([status, output]).toEqual([0, expect.not.stringContaining(token)]);
});

test.each([
  [['pull', 'acme/gated'], 77, /^HUB_GATED: .*Ask for access at http:[^ ]*acme\/gated/m],
  [['pull', 'acme/demo@v9'], 66, /^HUB_REVISION_NOT_FOUND: acme\/demo has no revision v9/m],
  [['pull', 'acme/demo', '--include', '*.gguf'], 66, /^HUB_FILE_NOT_FOUND: .*There are /m],
  [['pull', 'demo'], 64, /^INVALID_ARGUMENT: "demo" does not name a model/m],
  [
    ['slice', '--model', 'acme/none', '--out', 'x', '--ranks', '1'],
    77,
    /^HUB_UNAUTHORIZED: the Hub shows no acme\/none/m,
  ],
])('%j ends with status %i and one line that says why', async (flags, status, message) => {
  expect(await run(...flags)).toMatchObject({ status, output: expect.stringMatching(message) });
});

test('an interrupted pull ends with 130, and the next one goes on', async () => {
  server.faults.push({ ...faults.stallAfter(100_000, 1), fits: ({ origin }) => origin === server.storageOrigin });
  const first = trireme('pull', 'acme/demo');
  await new Promise<void>((resolve) => {
    server.onFileBytes = (total) => {
      if (total >= 100_000) resolve();
    };
  });
  first.kill('SIGINT');
  expect(await first.exited).toMatchObject({ status: 130 });
  expect(first.output).toMatch(/^CANCELLED/m);
  server.faults.length = 0;
  expect(await run('pull', 'acme/demo')).toMatchObject({ status: 0 });
  const original = await readFile(path.join(demo, 'model.safetensors'));
  expect(await readFile(path.join(snapshot(), 'model.safetensors'))).toEqual(original);
});
