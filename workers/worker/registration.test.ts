import { afterEach, beforeEach, expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import type { Lease } from '#platform/store.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { workerKey } from '#proto/keys.ts';
import { WorkerRecord } from '#proto/records.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { Registration } from './registration.ts';

/** A store that can be away for a while, and tells what it was asked for. */
class PatchyStore extends EmbeddedStore {
  away = false;
  leaseCount = 0;
  #attempts: (() => void)[] = [];

  override async lease(ttlMs: number): Promise<Lease> {
    this.leaseCount++;
    for (const wake of this.#attempts.splice(0)) wake();
    if (this.away) throw new TriremeError('STORE_UNAVAILABLE', 'away');
    return super.lease(ttlMs);
  }

  /** Resolves at the next attempt to get a lease. */
  attempt(): Promise<void> {
    return new Promise((resolve) => this.#attempts.push(resolve));
  }
}

const key = workerKey('w');
let store: PatchyStore;
let clock: ManualClock;

beforeEach(() => {
  store = new PatchyStore();
  clock = new ManualClock();
});

afterEach(() => store.close());

function create(incarnation: string): Registration {
  const record = WorkerRecord.fromPartial({ id: 'w', incarnation });
  return new Registration({ store, record, leaseTtlMs: 1000, clock, log: createLogger('silent') });
}

async function registered(): Promise<string | undefined> {
  const entry = await store.get(key);
  return entry && WorkerRecord.decode(entry.value).incarnation;
}

/** Resolves when the registration has settled into waiting for its next attempt. */
async function waitsForRetry(): Promise<void> {
  while (clock.timerCount === 0) await Promise.resolve();
}

/** Resolves at the next write of the record. */
function written(): Promise<string> {
  return new Promise((resolve) => {
    store.watch(key, (event) => {
      if (event.kind === 'put') resolve(WorkerRecord.decode(event.entry.value).incarnation);
    });
  });
}

test('a lost lease is replaced as soon as the store is back, however often it was away', async () => {
  await create('a').start();
  store.away = true;
  store.revokeLease('1');
  for (let attempt = 0; attempt < 3; attempt++) {
    await waitsForRetry();
    expect(await registered()).toBeUndefined();
    const next = store.attempt();
    if (attempt === 2) store.away = false;
    clock.advance(1000);
    await next;
  }
  expect(await written()).toBe('a');
  expect(store.leaseCount).toBe(5);
});

test('a start takes over the record of another process, and a return does not', async () => {
  await create('old').start();
  await create('new').start();
  store.revokeLease('1');
  await waitsForRetry();
  expect(await registered()).toBe('new');
  store.revokeLease('2');
  expect(await written()).toBe('new');
});

test('a release deletes the record at once, is idempotent, and ends the attempts to return', async () => {
  const kept = create('a');
  await kept.start();
  await kept.release();
  await kept.release();
  expect(await registered()).toBeUndefined();
  const lost = create('b');
  await lost.start();
  store.away = true;
  store.revokeLease('2');
  await waitsForRetry();
  await lost.release();
  store.away = false;
  await new Promise((resolve) => setImmediate(resolve));
  expect([clock.timerCount, await registered(), store.leaseCount]).toEqual([0, undefined, 3]);
});

test('the first registration says when the store does not answer', async () => {
  store.away = true;
  await expect(create('a').start()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
});
