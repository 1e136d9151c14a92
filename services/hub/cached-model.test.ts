import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { defaultFiles, HubRig, tinyModel } from '../../test/fakes/hub-rig.ts';
import { onlyCommit } from '../../test/fakes/hub-server.ts';
import { readCachedModel } from './cached-model.ts';
import { findModel } from './find-model.ts';
import { type ModelReference, requireModelReference } from './model-reference.ts';

let rig: HubRig;
const commit = onlyCommit(tinyModel);

beforeEach(async () => {
  rig = await HubRig.start();
});

afterEach(() => rig[Symbol.asyncDispose]());

const read = (model = 'acme/tiny', include: readonly string[] = []) =>
  readCachedModel(requireModelReference(model), rig.cacheFolder, include);
const place = (name: string): string => path.join(rig.layout.snapshot(commit), name);

describe('what the cache has', () => {
  it('is read without a question to anybody, by branch and by commit', async () => {
    const { folder } = await rig.pull();
    const asked = rig.server.requests.length;
    const files = defaultFiles.map((name) => ({ path: name, bytes: tinyModel.files[name]?.length }));
    expect(await read()).toEqual({ repo: 'acme/tiny', revision: 'main', commit, folder, files });
    expect(await read(`acme/tiny@${commit}`)).toMatchObject({ commit, folder });
    expect(rig.server.requests).toHaveLength(asked);
  });

  it('is not what it has of another revision', async () => {
    await rig.pull();
    await expect(read('acme/tiny@v1')).rejects.toMatchObject({
      code: 'NOT_CACHED',
      remedy: expect.stringContaining('trireme pull acme/tiny@v1'),
    });
    await expect(read(`acme/tiny@${'0'.repeat(40)}`)).rejects.toMatchObject({ code: 'NOT_CACHED' });
    await expect(read('acme/other')).rejects.toMatchObject({ code: 'NOT_CACHED' });
  });

  it('lacks what a killed pull of another tool did not bring, or somebody removed', async () => {
    await rig.pull();
    await rm(place('model-2.safetensors'));
    await expect(read()).rejects.toMatchObject({
      code: 'NOT_CACHED',
      message: expect.stringContaining('model-2.safetensors'),
    });
    await rig.pull();
    const { hex } = {
      hex: path.basename((await rig.contents())[`models--acme--tiny/snapshots/${commit}/config.json`]!),
    };
    await rm(rig.layout.blob({ algorithm: 'git-sha1', hex }));
    await expect(read()).rejects.toMatchObject({ code: 'NOT_CACHED', message: expect.stringContaining('config.json') });
  });

  it('is enough without the terms of use, but not for somebody who asks for more', async () => {
    await rig.pull();
    await rm(place('README.md'));
    await read();
    await expect(read('acme/tiny', ['README.md'])).rejects.toMatchObject({ code: 'NOT_CACHED' });
    await expect(read('acme/tiny', ['*.bin'])).rejects.toMatchObject({ code: 'NOT_CACHED' });
    await expect(read('acme/tiny', ['*.gguf'])).rejects.toMatchObject({ code: 'HUB_FILE_NOT_FOUND' });
    await read('acme/tiny', ['*.safetensors']);
  });

  it('cannot be read where something else is in its place', async () => {
    await mkdir(path.dirname(rig.layout.repoFolder), { recursive: true });
    await writeFile(rig.layout.repoFolder, 'a file');
    await expect(read()).rejects.toMatchObject({ code: 'NOT_CACHED' });
  });
});

describe('what another tool left, which notes no listing', () => {
  async function leave(files: Readonly<Record<string, string>>, ref = commit): Promise<void> {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(place(name)), { recursive: true });
      await writeFile(place(name), text);
    }
    await mkdir(path.dirname(rig.layout.ref('main')), { recursive: true });
    await writeFile(rig.layout.ref('main'), ref);
  }
  const index = JSON.stringify({ weight_map: { a: 'one.safetensors', b: 'two.safetensors', c: 'one.safetensors' } });
  const config = { 'config.json': '{}' };

  it.each([
    [{ ...config, 'model.safetensors': 'x' }],
    [{ ...config, 'model.safetensors.index.json': index, 'one.safetensors': 'x', 'two.safetensors': 'y' }],
    [{ ...config, 'other.safetensors': 'x' }],
  ])('is a model: %j', async (files) => {
    await leave(files);
    expect((await read()).files).toHaveLength(Object.keys(files).length);
  });

  it.each([
    [{ ...config }, 'model.safetensors'],
    [{ 'model.safetensors': 'x' }, 'config.json'],
    [{ ...config, 'model.safetensors.index.json': index, 'one.safetensors': 'x' }, 'two.safetensors'],
  ])('is none yet: %j', async (files, missing) => {
    await leave(files);
    await expect(read()).rejects.toMatchObject({ code: 'NOT_CACHED', message: expect.stringContaining(missing) });
  });

  it.each(['', 'abc', '../../../../etc', `${commit}x`])('is not followed where a ref says %j', async (ref) => {
    await leave({ ...config, 'model.safetensors': 'x' }, ref);
    await expect(read()).rejects.toMatchObject({ code: 'NOT_CACHED' });
  });

  it('may end its refs with a line break, and have a listing of a form that is not known', async () => {
    await leave({ ...config, 'model.safetensors': 'x' }, `${commit}\n`);
    await mkdir(path.dirname(rig.layout.listing(commit)), { recursive: true });
    for (const text of ['{"format_version": 2}', 'not JSON', '{"format_version": 1, "files": 7}']) {
      await writeFile(rig.layout.listing(commit), text);
      await read();
    }
  });
});

describe('what somebody writes for a model', () => {
  const pulled: ModelReference[] = [];
  const find = (text: string, isOffline = false) =>
    findModel(text, async () => ({
      cacheFolder: rig.cacheFolder,
      pull: isOffline
        ? undefined
        : async (reference) => {
            pulled.push(reference);
            return 'pulled';
          },
    }));

  beforeEach(() => {
    pulled.length = 0;
  });

  it('is a folder or file when there is one, and then nobody needs a Hub', async () => {
    const folder = path.join(rig.cacheFolder, 'acme', 'tiny');
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'x.gguf'), '');
    const noHub = (): never => {
      throw new Error('nobody needs it');
    };
    for (const text of [folder, path.join(folder, 'x.gguf'), 'models/demo', '.']) {
      expect(await findModel(text, noHub)).toBe(text);
    }
  });

  it('comes from the cache, else it is pulled', async () => {
    expect(await find('acme/tiny')).toBe('pulled');
    expect(pulled).toMatchObject([{ repo: 'acme/tiny', revision: 'main' }]);
    const { folder } = await rig.pull();
    expect(await find('acme/tiny')).toBe(folder);
    expect(await find('hf://acme/tiny')).toBe(folder);
    expect(await find('acme/tiny@v2')).toBe('pulled');
    expect(pulled).toHaveLength(2);
  });

  it('is never pulled offline', async () => {
    await expect(find('acme/tiny', true)).rejects.toMatchObject({ code: 'NOT_CACHED' });
    const { folder } = await rig.pull();
    expect(await find('acme/tiny', true)).toBe(folder);
  });

  it('is a mistyped path where its first half is a folder, unless it says otherwise', async () => {
    expect(await find('models/nowhere')).toBe('models/nowhere');
    expect(pulled).toEqual([]);
    expect(await find('hf://models/nowhere')).toBe('pulled');
  });

  it.each(['nowhere', './a/b', '/no/where', 'a/b/c', 'C:\\x'])('is nobody else’s business: %s', async (text) => {
    expect(await find(text)).toBe(text);
    expect(pulled).toEqual([]);
  });
});
