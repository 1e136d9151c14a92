import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '#platform/log.ts';
import { modelKey } from '#proto/keys.ts';
import { ModelRecord } from '#proto/records.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { demoPackage } from '../../test/fakes/router-world.ts';
import { Fleet } from './fleet.ts';
import { ModelCatalog } from './model-catalog.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'trireme-catalog-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function setUp() {
  const fleet = new Fleet();
  const clock = new ManualClock();
  const catalog = new ModelCatalog({ fleet, clock, log: createLogger('silent') });
  const put = (packageDigest: string): ModelRecord => {
    const record = ModelRecord.fromPartial({ name: 'm', packagePath: folder, packageDigest });
    const value = ModelRecord.encode(record).finish();
    fleet.apply({ kind: 'put', entry: { key: modelKey('m'), value, modRevision: 1, createRevision: 1 } });
    return record;
  };
  return { fleet, clock, catalog, put };
}

async function bring(...names: string[]): Promise<void> {
  for (const name of names) await cp(path.join(demoPackage, name), path.join(folder, name));
}

test('a package is read once, ahead of the first request, and forgotten with its model', async () => {
  await bring('tokenizer.json', 'generation_config.json');
  const { fleet, catalog, put } = setUp();
  const record = put('1');
  catalog.refresh();
  const files = await catalog.load(record);
  expect(files.defaults).toEqual({ temperature: 0 });
  expect(files.replyFormat?.name).toBe('hermes');
  expect(await catalog.load(record)).toBe(files);
  fleet.apply({ kind: 'delete', key: modelKey('m') });
  catalog.refresh();
  await rm(path.join(folder, 'tokenizer.json'));
  await expect(catalog.load(record)).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
});

test('another digest is another package', async () => {
  await bring('tokenizer.json');
  const { catalog, put } = setUp();
  const first = await catalog.load(put('1'));
  const second = await catalog.load(put('2'));
  expect(second).not.toBe(first);
  expect(second.defaults).toEqual({});
});

test('a package that cannot be read is tried again, but not for every request', async () => {
  const { clock, catalog, put } = setUp();
  const record = put('1');
  await expect(catalog.load(record)).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
  await bring('tokenizer.json');
  clock.advance(4999);
  await expect(catalog.load(record)).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
  clock.advance(1);
  expect((await catalog.load(record)).tokenizer.encode('a')).toHaveLength(1);
});

test.for<[string, unknown, unknown]>([
  [
    'sampling',
    { do_sample: true, temperature: 0.6, top_k: 20, top_p: 0.95, min_p: 0.05 },
    { temperature: 0.6, topK: 20, topP: 0.95, minP: 0.05 },
  ],
  [
    'a penalty, which counts for greedy models too',
    { do_sample: false, temperature: 0.6, repetition_penalty: 1.05 },
    { temperature: 0, repetitionPenalty: 1.05 },
  ],
  ['nothing but values', { temperature: 0.7, top_p: null }, { temperature: 0.7 }],
])('a generation_config.json may set %s', async ([, config, defaults]) => {
  await bring('tokenizer.json');
  await writeFile(path.join(folder, 'generation_config.json'), JSON.stringify(config));
  const { catalog, put } = setUp();
  expect((await catalog.load(put('1'))).defaults).toEqual(defaults);
});

test.for<[string, unknown]>([
  ['a text for a number', { top_p: 'high' }],
  ['a value out of range', { top_p: 2 }],
  ['a list', []],
])('a generation_config.json with %s is named', async ([, config]) => {
  await bring('tokenizer.json');
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, 'generation_config.json'), JSON.stringify(config));
  const { catalog, put } = setUp();
  await expect(catalog.load(put('1'))).rejects.toMatchObject({
    code: 'INVALID_CHECKPOINT',
    message: expect.stringContaining(path.join(folder, 'generation_config.json')),
  });
});
