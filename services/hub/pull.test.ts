/** What a pull brings, where it puts it, and what it asks for on the way. */
import { mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '#platform/clock.ts';
import { bytesOf, defaultFiles, HubRig, smallLimits, tinyModel } from '../../test/fakes/hub-rig.ts';
import { gitOidOf, onlyCommit } from '../../test/fakes/hub-server.ts';
import type { PullPlan } from './pull.ts';
import { TransientFailure } from './retries.ts';

let rig: HubRig;
const commit = onlyCommit(tinyModel);

beforeEach(async () => {
  rig = await HubRig.start();
});

afterEach(() => rig[Symbol.asyncDispose]());

const changed = {
  ...tinyModel,
  files: { ...tinyModel.files, 'config.json': bytesOf('new config', 50), 'model-1.safetensors': bytesOf('new', 9000) },
};

describe('a pull', () => {
  it('makes blobs, links, a ref and a listing, as other tools have them, and nothing else', async () => {
    const { folder } = await rig.pull();
    const contents = await rig.contents();
    const base = 'models--acme--tiny';
    const links = Object.entries(contents).filter(([name]) => name.startsWith(`${base}/snapshots/`));
    expect(links.map(([name]) => name.slice(`${base}/snapshots/${commit}/`.length)).sort()).toEqual([...defaultFiles]);
    for (const [, target] of links) expect(target).toMatch(/^-> [.][.]\/[.][.]\/blobs\/([0-9a-f]{40}|[0-9a-f]{64})$/);
    for (const name of defaultFiles) {
      expect(new Uint8Array(await readFile(path.join(folder, name))), name).toEqual(tinyModel.files[name]);
    }
    const blobs = Object.entries(contents).filter(([name]) => name.startsWith(`${base}/blobs/`));
    const gitNames = defaultFiles.map((name) => gitOidOf(tinyModel.files[name]!));
    for (const [name, sha256] of blobs) expect([sha256, ...gitNames]).toContain(path.basename(name));
    expect(blobs, 'two files of the same content are one').toHaveLength(defaultFiles.length - 1);
    const others = Object.keys(contents).filter((name) => !/\/(blobs|snapshots)\//.test(name));
    expect(others.sort()).toEqual([`${base}/refs/main`, `${base}/trees/${commit}.json`]);
    expect(await readFile(path.join(rig.cacheFolder, base, 'refs', 'main'), 'utf8')).toBe(commit);
  });

  it('tells before the first byte what it will load, under which licence', async () => {
    const seen: (PullPlan & { requests: number })[] = [];
    const plan = await rig.pull('acme/tiny', {
      onPlan: (told) => seen.push({ ...told, requests: rig.server.fileRequests.length }),
    });
    expect(seen).toEqual([{ ...plan, requests: 0 }]);
    expect(plan).toMatchObject({ repo: 'acme/tiny', revision: 'main', commit, licence: 'apache-2.0', gated: 'no' });
    expect(plan.files.map(({ path: name }) => name)).toEqual(defaultFiles);
    expect(plan.missingBytes).toBe(
      defaultFiles
        .filter((name) => name !== 'same.safetensors')
        .reduce((sum, name) => sum + tinyModel.files[name]!.length, 0),
    );
  });

  it('reports progress up to the end', async () => {
    const reports: [number, number][] = [];
    const { missingBytes } = await rig.pull('acme/tiny', { onProgress: (done, total) => reports.push([done, total]) });
    expect(reports.at(-1)).toEqual([missingBytes, missingBytes]);
    expect(reports).toEqual(reports.toSorted(([a], [b]) => a - b));
  });

  it('loads nothing twice', async () => {
    await rig.pull();
    const before = await rig.contents();
    const requests = rig.server.fileRequests.length;
    const plan = await rig.pull();
    expect(plan.files.every(({ isCached }) => isCached)).toBe(true);
    expect(plan.missingBytes).toBe(0);
    expect(rig.server.fileRequests).toHaveLength(requests);
    expect(await rig.contents()).toEqual(before);
  });

  it('loads only what changed, moves the ref, and keeps the older commit', async () => {
    await rig.pull();
    rig.server.put(changed);
    const { folder, missingBytes } = await rig.pull();
    expect(missingBytes).toBe(9050);
    expect(path.basename(folder)).toBe(onlyCommit(changed));
    expect(await readFile(rig.layout.ref('main'), 'utf8')).toBe(onlyCommit(changed));
    const old = await readFile(path.join(rig.layout.snapshot(commit), 'config.json'));
    expect(new Uint8Array(old)).toEqual(tinyModel.files['config.json']);
  });

  it('takes a branch, a tag, a pull request or a commit, and remembers what each was', async () => {
    rig.server.put({ ...tinyModel, revisions: { main: commit, v1: commit, 'refs/pr/7': commit } });
    for (const revision of ['v1', 'refs/pr/7']) {
      expect((await rig.pull(`acme/tiny@${revision}`)).commit).toBe(commit);
      expect(await readFile(rig.layout.ref(revision), 'utf8')).toBe(commit);
    }
    await rig.pull(`acme/tiny@${commit}`);
    const names = Object.keys(await rig.contents()).filter((name) => name.includes('/refs/'));
    expect(names.map((name) => name.replace('models--acme--tiny/refs/', '')).sort()).toEqual(['refs/pr/7', 'v1']);
  });

  it('asks for the commit once and then for nothing else, whatever becomes of the branch', async () => {
    await rig.pull('acme/tiny', {
      onPlan: () => rig.server.put({ ...tinyModel, revisions: { main: 'f'.repeat(40), v0: commit } }),
    });
    const [info, ...others] = rig.server.requests.filter(({ origin }) => origin === rig.server.endpoint);
    expect(info?.path).toMatch(/revision\/main/);
    for (const request of others) expect(request.path).toContain(commit);
  });

  it('takes the files that are asked for and no others', async () => {
    const { folder, files } = await rig.pull('acme/tiny', { include: ['onnx/', '*.bin'] });
    expect(files.map(({ path: name }) => name)).toEqual(['onnx/model.onnx', 'pytorch_model.bin']);
    expect(new Uint8Array(await readFile(path.join(folder, 'onnx/model.onnx')))).toEqual(
      tinyModel.files['onnx/model.onnx'],
    );
    const link = (await rig.contents())[`models--acme--tiny/snapshots/${commit}/onnx/model.onnx`];
    expect(link).toMatch(/^-> [.][.]\/[.][.]\/[.][.]\/blobs\//);
  });

  it('reads a listing of many pages', async () => {
    await using paged = await HubRig.start([tinyModel], { pageSize: 3 });
    expect((await paged.pull()).files.map(({ path: name }) => name)).toEqual(defaultFiles);
  });

  it('never has more requests under way than it may, and uses what it may', async () => {
    let open = 0;
    let most = 0;
    const original = globalThis.fetch;
    globalThis.fetch = async (...request) => {
      most = Math.max(most, ++open);
      try {
        return await original(...request);
      } finally {
        open--;
      }
    };
    try {
      await rig.pull('acme/tiny', { limits: { ...smallLimits, connections: 2, openFiles: 8, partBytes: 500 } });
    } finally {
      globalThis.fetch = original;
    }
    expect(most).toBe(2);
  });

  it('asks the Hub once for where a large file is, not once a part', async () => {
    await rig.pull('acme/tiny', { limits: { ...smallLimits, connections: 1, partBytes: 1000 } });
    const asked = rig.server.fileRequests.filter(({ path: name }) => name.endsWith('/model-1.safetensors'));
    expect(asked).toHaveLength(1);
    const parts = rig.server.fileRequests.filter(({ range }) => range !== undefined);
    expect(parts.length).toBeGreaterThan(30);
  });
});

describe('what is in the cache already', () => {
  const place = (name: string) => path.join(rig.layout.snapshot(commit), name);

  it('is taken from another commit, or from a tool that noted nothing', async () => {
    await rig.pull();
    await rm(path.join(rig.layout.repoFolder, 'snapshots'), { recursive: true });
    await rm(path.join(rig.layout.repoFolder, 'refs'), { recursive: true });
    const before = rig.server.fileRequests.length;
    await rig.pull();
    expect(rig.server.fileRequests).toHaveLength(before);
    expect(new Uint8Array(await readFile(place('config.json')))).toEqual(tinyModel.files['config.json']);
  });

  it('is loaded again when it is shorter than it should be', async () => {
    await rig.pull();
    const sound = await rig.contents();
    await writeFile(place('model-1.safetensors'), 'short');
    await rig.pull();
    expect(await rig.contents()).toEqual(sound);
  });

  it('is linked anew where a link leads elsewhere or to nothing', async () => {
    await rig.pull();
    const sound = await rig.contents();
    await rm(place('config.json'));
    await symlink('../../blobs/nothing', place('config.json'));
    await rm(place('model-1.safetensors'));
    await symlink(
      path.relative(
        rig.layout.snapshot(commit),
        rig.layout.blob({ algorithm: 'git-sha1', hex: gitOidOf(tinyModel.files['config.json']!) }),
      ),
      place('model-1.safetensors'),
    );
    await rig.pull();
    expect(await rig.contents()).toEqual(sound);
  });

  it('may be a plain file where the cache has no links', async () => {
    await mkdir(rig.layout.snapshot(commit), { recursive: true });
    await writeFile(place('config.json'), tinyModel.files['config.json']!);
    await rig.pull();
    expect((await rig.contents())[`models--acme--tiny/snapshots/${commit}/config.json`]).not.toMatch(/^->/);
  });
});

it('two pulls at a time do not disturb each other, and load each blob once', async () => {
  const waited: string[] = [];
  const options = { clock: systemClock, onWait: (name: string): void => void waited.push(name) };
  await using lone = await HubRig.start();
  await lone.pull();
  await Promise.all([rig.pull('acme/tiny', options), rig.pull('acme/tiny', options)]);
  expect(await rig.contents()).toEqual(await lone.contents());
  expect(waited).not.toEqual([]);
  const loads = ({ server }: HubRig) => server.requests.filter(({ origin }) => origin === server.storageOrigin).length;
  expect(loads(rig)).toBe(loads(lone));
});

it('a failure that another try may mend never leaves the room', async () => {
  await using nowhere = await HubRig.start();
  await nowhere.server[Symbol.asyncDispose]();
  const error: unknown = await nowhere.pull().catch((thrown: unknown) => thrown);
  expect(error).not.toBeInstanceOf(TransientFailure);
  expect(error).toMatchObject({
    code: 'HUB_UNAVAILABLE',
    message: expect.stringMatching(/ECONNREFUSED.*after 6 tries/),
  });
});
