import { expect, test } from 'vitest';
import { ModelRecord, ServingSettings } from '#proto/records.ts';
import { generationOf, streamDigestOf } from './digests.ts';

const serving = ServingSettings.fromPartial({ kvBlocks: 1, maxSequences: 2, stepTokens: 3, maxWaiting: 4 });
const model = ModelRecord.fromPartial({
  name: 'm',
  packageDigest: 'd',
  packagePath: '/p',
  ranks: 2,
  groups: 1,
  serving,
});

const held = { folder: '/a', places: 4, rank: 8 };
const adapters = [held, { ...held, folder: '/b' }, { ...held, places: 5 }, { ...held, rank: 9 }];

test('every setting, the ranks and the package are part of the generation', () => {
  const settings = Object.keys(serving) as (keyof ServingSettings)[];
  const variants = [
    model,
    { ...model, packageDigest: 'e' },
    { ...model, ranks: 3 },
    ...settings.filter((key) => key !== 'adapters').map((key) => ({ ...model, serving: { ...serving, [key]: 99 } })),
    ...adapters.map((held) => ({ ...model, serving: { ...serving, adapters: held } })),
  ];
  expect(settings.length).toBeGreaterThan(3);
  expect(new Set(variants.map(generationOf)).size).toBe(variants.length);
});

test('where the package lies, how many groups there are and what the model is called are not', () => {
  expect(generationOf({ ...model, packagePath: '/q', groups: 9, name: 'n' })).toBe(generationOf(model));
});

test('an incomplete model has no generation', () => {
  for (const gap of [{ packageDigest: '' }, { ranks: 0 }, { serving: undefined }]) {
    expect(generationOf({ ...model, ...gap })).toBeUndefined();
  }
});

test('streams go on between groups of one package only', () => {
  expect(streamDigestOf('d')).toBe(streamDigestOf('d'));
  expect(streamDigestOf('d')).not.toBe(streamDigestOf('e'));
  expect(streamDigestOf('d')).not.toBe(generationOf(model));
});
