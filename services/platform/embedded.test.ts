import { expect, test } from 'vitest';
import { EmbeddedBus } from './bus-embedded.ts';
import type { WatchEvent } from './store.ts';
import { EmbeddedStore } from './store-embedded.ts';

const one = new Uint8Array([1]);

test('of two racing creations one is applied, and a watch sees a snapshot and then events in order', async () => {
  const store = new EmbeddedStore();
  const seen: string[] = [];
  const name = (event: WatchEvent) => (event.kind === 'put' ? `put ${event.entry.key}` : event.kind);
  store.watch('/a/', (event) => seen.push(name(event)));
  const create = () =>
    store.transact({ guards: [{ key: '/a/x', createRevision: 0 }], writes: [{ put: '/a/x', value: one }] });
  const outcomes = await Promise.all([create(), create()]);
  expect(outcomes.map((outcome) => outcome.applied)).toEqual([true, false]);
  await store.put('/b/x', one);
  await store.delete('/a/x');
  expect(seen).toEqual(['snapshot', 'put /a/x', 'delete']);
});

test('a revoked lease deletes its keys and fires lost, a released one does not fire', async () => {
  const store = new EmbeddedStore();
  const revoked = await store.lease(1000);
  const released = await store.lease(1000);
  await store.put('/r', one, revoked);
  await store.put('/s', one, released);
  store.revokeLease(revoked.id);
  await released.release();
  await released.release();
  expect(await store.list('/')).toEqual([]);
  expect([revoked.lost.aborted, released.lost.aborted]).toEqual([true, false]);
});

test('the bus keeps order, answers requests and names a request that nobody hears', async () => {
  const bus = new EmbeddedBus();
  const seen: number[] = [];
  bus.subscribe('s', (payload, respond) => {
    seen.push(payload[0] ?? -1);
    respond(payload);
  });
  for (let i = 0; i < 10; i++) bus.publish('s', new Uint8Array([i]));
  expect(await bus.request('s', new Uint8Array([10]), 1000)).toEqual(new Uint8Array([10]));
  expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  await expect(bus.request('t', one, 1000)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
});
