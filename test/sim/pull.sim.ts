/**
 * Pulls killed at many more points than the tests have time for. HUB_PULLS says how many (default 50), HUB_SEED which points,
 * so that a failure can be run again; left out, the day decides.
 */
import { expect, test } from 'vitest';
import { killedPulls } from '../fakes/killed-pulls.ts';

const pullCount = Number(process.env.HUB_PULLS ?? 50);
const seed = Number(process.env.HUB_SEED ?? Math.floor(Date.now() / 86_400_000) * 1000);

test(`${pullCount} killed pulls end in the same bytes, and nothing is left over (HUB_SEED=${seed})`, async () => {
  const { whole, pulls } = await killedPulls(seed, pullCount);
  const killCount = pulls.reduce((sum, { kills }) => sum + kills.length, 0);
  expect(killCount).toBeGreaterThan(pullCount / 2);
  for (const { output, contents, kills } of pulls) {
    expect(output).toBe('OK\n');
    expect(contents).toEqual(whole);
    for (const left of kills) expectNothingWrong(left, whole);
  }
});

/** Whatever has its name in the cache is what it is in the end. */
function expectNothingWrong(left: Record<string, string>, whole: Record<string, string>): void {
  for (const [name, digest] of Object.entries(left)) {
    if (!/[.]trireme[.](incomplete|tmp)$/.test(name)) expect(`${name} ${digest}`).toBe(`${name} ${whole[name]}`);
  }
}
