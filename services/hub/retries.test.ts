import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import { HurriedClock } from '../../test/fakes/hurried-clock.ts';
import { retryAfterMs } from './refusal.ts';
import { Retries, retryLimits, TransientFailure } from './retries.ts';

const { signal } = new AbortController();

function retriesWith(byte: number): { clock: HurriedClock; retries: Retries } {
  const clock = new HurriedClock();
  const random: RandomSource = { bytes: (count) => new Uint8Array(count).fill(byte), id: () => '' };
  return { clock, retries: new Retries(retryLimits, clock, random) };
}

const failure = (retryAfter?: number): TransientFailure =>
  new TransientFailure(new TriremeError('HUB_UNAVAILABLE', 'it is away'), retryAfter);

test('waits double, up to a limit of tries, and then the last failure is told with their number', async () => {
  const { clock, retries } = retriesWith(255);
  for (let i = 0; i < 5; i++) await retries.pause(failure(), signal);
  expect(clock.sleepsMs).toEqual([500, 1000, 2000, 4000, 8000]);
  await expect(retries.pause(failure(), signal)).rejects.toMatchObject({
    code: 'HUB_UNAVAILABLE',
    message: 'it is away (after 6 tries)',
    remedy: expect.stringMatching(/kept/),
  });
  expect(clock.sleepsMs).toHaveLength(5);
});

test('waits are spread over half their length', async () => {
  const { clock, retries } = retriesWith(0);
  await retries.pause(failure(), signal);
  expect(clock.sleepsMs).toEqual([250]);
});

test('progress begins the count anew', async () => {
  const { clock, retries } = retriesWith(255);
  for (let i = 0; i < 20; i++) {
    await retries.pause(failure(), signal);
    retries.onProgress();
  }
  expect(new Set(clock.sleepsMs)).toEqual(new Set([500]));
});

test('a server that says how long is waited for so long, unless that is too much to ask', async () => {
  const { clock, retries } = retriesWith(255);
  await retries.pause(failure(120_000), signal);
  await retries.pause(failure(0), signal);
  expect(clock.sleepsMs).toEqual([120_000, 1000]);
  await expect(retries.pause(failure(300_001), signal)).rejects.toThrow(/asks for 301 s/);
});

test('what another try would not mend is thrown at once', async () => {
  const { clock, retries } = retriesWith(255);
  const error = new TriremeError('HUB_GATED', 'no');
  await expect(retries.pause(error, signal)).rejects.toBe(error);
  expect(clock.sleepsMs).toEqual([]);
});

test.each([
  [{ 'retry-after': '7' }, 7000],
  [{ 'retry-after': '0' }, 0],
  [{ 'retry-after': 'Wed, 21 Oct 2026 07:28:30 GMT', date: 'Wed, 21 Oct 2026 07:28:00 GMT' }, 30_000],
  [{ 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT', date: 'Wed, 21 Oct 2026 07:29:00 GMT' }, 0],
  [{ 'retry-after': 'soon' }, undefined],
  [{ 'retry-after': '-5' }, undefined],
  [{ ratelimit: '"api";r=0;t=55' }, 55_000],
  [{ ratelimit: '"api";r=0' }, undefined],
  [{}, undefined],
])('%j means to wait %s ms', (headers, expected) => {
  expect(retryAfterMs(new Headers(headers as Record<string, string>))).toBe(expected);
});
