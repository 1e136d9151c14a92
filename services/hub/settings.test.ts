import { chmod, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { temporaryFolder } from '../../test/fixtures/tiny-checkpoint.ts';
import { readHubSettings } from './settings.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let home: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  home = folder.path;
});

afterEach(() => folder[Symbol.asyncDispose]());

test('without any variable the Hub is the public one, and its cache is where other tools have it', async () => {
  expect(await readHubSettings({}, home)).toEqual({
    endpoint: 'https://huggingface.co',
    token: undefined,
    cacheFolder: path.join(home, '.cache', 'huggingface', 'hub'),
    isOffline: false,
  });
});

test.each([
  [{ HF_HUB_CACHE: '/a', HF_HOME: '/b', HUGGINGFACE_HUB_CACHE: '/c' }, '/a'],
  [{ HF_HOME: '/b', HUGGINGFACE_HUB_CACHE: '/c' }, '/c'],
  [{ HF_HOME: '/b', XDG_CACHE_HOME: '/d' }, '/b/hub'],
  [{ XDG_CACHE_HOME: '/d' }, '/d/huggingface/hub'],
  [{ HF_HUB_CACHE: '', HF_HOME: '/b' }, '/b/hub'],
  [{ HF_HOME: '~/x' }, 'HOME/x/hub'],
  [{ HF_HOME: '$DISK/$' + '{USER_NAME}', DISK: '/disk', USER_NAME: 'me' }, '/disk/me/hub'],
  [{ HF_HOME: '/$NOBODY' }, '/$NOBODY/hub'],
  [{ HF_HOME: '/~' }, '/~/hub'],
])('with %j the cache is %s', async (env, expected) => {
  const { cacheFolder } = await readHubSettings(env, home);
  expect(cacheFolder).toBe(expected.replace('HOME', home));
});

test.each([
  ['https://hub.example/', 'https://hub.example'],
  ['http://127.0.0.1:80/mirror/hf/', 'http://127.0.0.1/mirror/hf'],
])('the endpoint %s is %s', async (text, expected) => {
  expect((await readHubSettings({ HF_ENDPOINT: text }, home)).endpoint).toBe(expected);
});

test.each([
  'huggingface.co',
  'ftp://hub.example',
  'https://user:secret@hub.example',
  'https://hub.example/?a=b',
  'https://hub.example/#x',
])('the endpoint %s is refused, and not repeated where others may read it', async (text) => {
  const refused = readHubSettings({ HF_ENDPOINT: text }, home);
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.not.stringContaining(text) });
});

test('a token is taken from the variable, else from the older one, else from the file', async () => {
  await mkdir(path.join(home, '.cache', 'huggingface'), { recursive: true });
  await writeFile(path.join(home, '.cache', 'huggingface', 'token'), '  hf_file\n');
  await writeFile(path.join(home, 'elsewhere'), 'hf_elsewhere');
  const tokenOf = async (env: Record<string, string>) => (await readHubSettings(env, home)).token;
  expect(await tokenOf({ HF_TOKEN: 'hf_new\n', HUGGING_FACE_HUB_TOKEN: 'hf_old' })).toBe('hf_new');
  expect(await tokenOf({ HF_TOKEN: '', HUGGING_FACE_HUB_TOKEN: 'hf_old' })).toBe('hf_old');
  expect(await tokenOf({})).toBe('hf_file');
  expect(await tokenOf({ HF_TOKEN_PATH: '~/elsewhere' })).toBe('hf_elsewhere');
  expect(await tokenOf({ HF_HOME: '/nowhere' })).toBeUndefined();
  expect(await tokenOf({ HF_TOKEN: 'hf_new', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' })).toBeUndefined();
});

test('a token that no header can carry is refused, and not repeated', async () => {
  const refused = readHubSettings({ HF_TOKEN: 'hf_a\nX-Evil: hf_b' }, home);
  await expect(refused).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.not.stringContaining('hf_') });
});

test('a token file that is no file is an error, not a missing token', async () => {
  await mkdir(path.join(home, 'token'));
  await chmod(path.join(home, 'token'), 0o700);
  await expect(readHubSettings({ HF_TOKEN_PATH: path.join(home, 'token') }, home)).rejects.toMatchObject({
    code: 'IO_ERROR',
  });
});

test.each([
  [{ HF_HUB_OFFLINE: '1' }, true],
  [{ HF_HUB_OFFLINE: 'yes' }, true],
  [{ TRANSFORMERS_OFFLINE: 'TRUE' }, true],
  [{ HF_HUB_OFFLINE: '0' }, false],
  [{ HF_HUB_OFFLINE: '' }, false],
])('%j means offline: %s', async (env, expected) => {
  expect((await readHubSettings(env, home)).isOffline).toBe(expected);
});
