/** A few random models; `npm run fuzz:families` and `npm run fuzz:bits` try as many as one likes. */
import { expect, test } from 'vitest';
import { familyOf } from '../../workers/models/families.ts';
import { tryBits } from './bits-trial.ts';
import { drawModel, drawnFamilies } from './draw-model.ts';
import type { DrawnModel } from './drawn-model.ts';
import { tryFamily } from './family-trial.ts';

const seed = 1;

test('every family that is served has random models', () => {
  const typeOf = ({ config }: DrawnModel): unknown =>
    (config.text_config as { readonly model_type?: string } | undefined)?.model_type ?? config.model_type;
  const drawn = drawnFamilies.map((family) => typeOf(drawModel(family, seed)));
  expect(() => familyOf('none')).toThrow(`known: ${drawn.join(', ')}`);
});

test.each(drawnFamilies)('a random %s agrees with the reference at every legal rank count', async (family) => {
  const { departures, ranks, skipped, error } = await tryFamily(family, seed);
  expect(departures).toEqual([]);
  expect(skipped).toBe(false);
  expect(ranks.length).toBeGreaterThan(0);
  expect(error).toBeGreaterThan(0);
});

test.each(['qwen3_5_moe', 'glm_moe_dsa', 'gpt_oss'])(
  'a random quantised %s has the same bits in any company',
  async (family) => {
    const { departures, compared } = await tryBits(family, seed);
    expect(departures).toEqual([]);
    expect(compared).toBeGreaterThan(2000);
  },
);
