import { expect, test } from 'vitest';
import { FormationRetries } from './formation-retries.ts';

const limits = { firstDelayMs: 100, delayMsMax: 500, soundAfterMs: 1000 };

function delays(retries: FormationRetries, times: number, nowMs = 0): number[] {
  return Array.from({ length: times }, () => {
    retries.onFailure('g', nowMs);
    return (retries.retryAtMs.get('g') ?? Number.NaN) - nowMs;
  });
}

test('the first failure is tried again at once, then the pauses double up to the longest', () => {
  expect(delays(new FormationRetries(limits), 6)).toEqual([0, 100, 200, 400, 500, 500]);
});

test('a group that failed very often still has the longest pause', () => {
  expect(delays(new FormationRetries(limits), 3000).at(-1)).toBe(500);
});

test('a group that was ready long enough starts over; one that was not goes on', () => {
  const retries = new FormationRetries(limits);
  delays(retries, 3);
  retries.onReady('g', 0);
  expect(delays(retries, 1, 999)).toEqual([400]);
  retries.onReady('g', 2000);
  expect(delays(retries, 1, 3000)).toEqual([0]);
});

test('groups do not count each other, and a forgotten one starts over', () => {
  const retries = new FormationRetries(limits);
  delays(retries, 4);
  retries.onFailure('other', 7);
  expect(retries.retryAtMs.get('other')).toBe(7);
  retries.forget('g');
  expect(retries.retryAtMs.has('g')).toBe(false);
  expect(delays(retries, 1)).toEqual([0]);
});
