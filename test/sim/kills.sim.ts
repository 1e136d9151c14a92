/**
 * Pulls and slicings killed at a few points that the day draws; `npm run fuzz:kills` takes many more. KILL_SEED repeats a failure.
 */
import { expect, test } from 'vitest';
import { killedPulls } from '../kills/killed-pulls.ts';
import { killedSlices } from '../kills/killed-slices.ts';

const seed = Number(process.env.KILL_SEED ?? Math.floor(Date.now() / 86_400_000));

test(`killed pulls end in the same bytes, and nothing is left over (KILL_SEED=${seed})`, async () => {
  const pulls = await killedPulls(seed, 15);
  expect(pulls.flatMap(({ kills }) => kills).filter(({ end }) => end !== 'whole').length).toBeGreaterThan(7);
  expect(pulls.flatMap(({ failures }) => failures)).toEqual([]);
});

test(`killed slicings end in the same bytes, and nothing is left over (KILL_SEED=${seed})`, async () => {
  const slices = await killedSlices(seed, 15);
  expect(slices.flatMap(({ kills }) => kills).filter(({ end }) => end !== 'whole').length).toBeGreaterThan(7);
  expect(slices.flatMap(({ failures }) => failures)).toEqual([]);
});
