import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../test/contract/eventually.ts';
import { storeContract } from '../../test/contract/store-contract.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { startEtcd, type TestEtcd } from '../../test/harness/etcd.ts';
import { freePort } from '../../test/harness/free-port.ts';
import { Relay } from '../../test/harness/relay.ts';
import { createLogger, type Logger } from './log.ts';
import type { Store, WatchEvent } from './store.ts';
import { connectEtcdStore } from './store-etcd.ts';

const log = createLogger('silent');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

storeContract('etcd', async () => {
  const etcd = await startEtcd();
  const open = () => connectEtcdStore({ urls: [etcd.url], log });
  const store = await open();
  return {
    store,
    revokeLease: etcd.revokeLease,
    openAnother: open,
    stop: async () => {
      await store.close();
      await etcd.server.stop();
    },
  };
});

/** A logger that keeps its warnings. */
function listeningLog(): { log: Logger; warnings: string[] } {
  const warnings: string[] = [];
  const kept = Object.assign(Object.create(log), { warn: (_: object, message: string) => warnings.push(message) });
  return { log: kept, warnings };
}

function words(event: WatchEvent): string {
  if (event.kind === 'put') return `put ${event.entry.key}=${new TextDecoder().decode(event.entry.value)}`;
  if (event.kind === 'delete') return `delete ${event.key}`;
  return `snapshot of ${event.entries.length}`;
}

describe('when etcd or the way to it fails', () => {
  let etcd: TestEtcd;
  let relay: Relay;
  let store: Store;
  let tests = 0;
  const newRoot = (): string => `/faults/${tests++}/`;
  beforeAll(async () => {
    etcd = await startEtcd();
    relay = await Relay.start(etcd.server.port);
    store = await connectEtcdStore({ urls: [`http://127.0.0.1:${relay.port}`], log, requestTimeoutMs: 500 });
  });
  afterAll(async () => {
    await store.close();
    await relay.stop();
    await etcd.server.stop();
  });

  async function watched(root: string): Promise<{ seen: string[]; close(): Promise<void> }> {
    const seen: string[] = [];
    const watch = store.watch(root, (event) => seen.push(words(event)));
    await eventually(() => expect(seen).toHaveLength(1));
    return { seen, close: () => watch.close() };
  }
  const away = () => eventually(() => expect(store.connected).toBe(false));
  const back = () => eventually(() => expect(store.connected).toBe(true), 10_000);

  test('a watch goes on where it was after the connection broke: nothing lost, nothing twice, no new snapshot', async () => {
    const root = newRoot();
    const { seen, close } = await watched(root);
    await store.put(`${root}k`, bytes('before'));
    await eventually(() => expect(seen).toHaveLength(2));
    relay.cut();
    await away();
    await etcd.put(`${root}k`, 'meanwhile');
    relay.restore();
    await back();
    await store.put(`${root}k`, bytes('after'));
    const puts = ['before', 'meanwhile', 'after'].map((value) => `put ${root}k=${value}`);
    await eventually(() => expect(seen).toEqual(['snapshot of 0', ...puts]));
    await close();
  });

  test('a watch whose history was compacted while it was away gets a new snapshot and goes on', async () => {
    const root = newRoot();
    const { seen, close } = await watched(root);
    relay.cut();
    await away();
    await etcd.put(`${root}a`, '1');
    await etcd.put(`${root}a`, '2');
    await etcd.compact(await etcd.put(`${root}b`, '3'));
    relay.restore();
    await eventually(() => expect(seen).toEqual(['snapshot of 0', 'snapshot of 2']), 10_000);
    await store.put(`${root}c`, bytes('4'));
    await eventually(() => expect(seen.at(-1)).toBe(`put ${root}c=4`));
    await close();
  });

  test('a dead network is noticed by the request time-out, and watches and leases survive it', async () => {
    const root = newRoot();
    const { seen, close } = await watched(root);
    const lease = await store.lease(10_000);
    relay.swallow();
    await expect(store.put(`${root}k`, bytes('1'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(store.connected).toBe(false);
    await etcd.put(`${root}k`, 'meanwhile');
    relay.restore();
    await back();
    await store.put(`${root}k`, bytes('after'), lease);
    await eventually(() => expect(seen.slice(1)).toEqual([`put ${root}k=meanwhile`, `put ${root}k=after`]));
    expect(lease.lost.aborted).toBe(false);
    await lease.release();
    await close();
  });

  test('a watch moves to another member with everything else, before its own connection knows that it is dead', async () => {
    const root = newRoot();
    const first = await Relay.start(etcd.server.port);
    const urls = [`http://127.0.0.1:${first.port}`, etcd.url];
    const moving = await connectEtcdStore({ urls, log, requestTimeoutMs: 500 });
    const seen: string[] = [];
    moving.watch(root, (event) => seen.push(words(event)));
    await eventually(() => expect(seen).toEqual(['snapshot of 0']));
    first.swallow();
    await etcd.put(`${root}k`, '1');
    await eventually(() => expect(seen).toEqual(['snapshot of 0', `put ${root}k=1`]));
    await moving.close();
    await first.stop();
  });

  test('an etcd that stands still is away, then back, with what was written before', async () => {
    const root = newRoot();
    const changes: boolean[] = [];
    store.onConnection((connected) => changes.push(connected));
    await store.put(`${root}k`, bytes('1'));
    const { seen, close } = await watched(root);
    etcd.server.pause();
    await away();
    await expect(store.get(`${root}k`)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    etcd.server.resume();
    await back();
    expect(changes.slice(0, 2)).toEqual([false, true]);
    await store.put(`${root}k`, bytes('2'));
    await eventually(() => expect(seen).toEqual(['snapshot of 1', `put ${root}k=2`]));
    await close();
  });

  test('a restart of etcd ends neither watches nor leases', async () => {
    const root = newRoot();
    const { seen, close } = await watched(root);
    const lease = await store.lease(2000);
    await store.put(`${root}k`, bytes('1'), lease);
    await eventually(() => expect(seen).toHaveLength(2));
    await etcd.server.kill();
    await away();
    await etcd.server.start();
    await etcd.put(`${root}after`, '2');
    await eventually(() => expect(seen.at(-1)).toBe(`put ${root}after=2`), 10_000);
    await back();
    expect([seen.length, lease.lost.aborted]).toEqual([3, false]);
    await lease.release();
    await close();
  });

  test('an etcd that comes back without its data means a new snapshot and lost leases', async () => {
    const root = newRoot();
    const lease = await store.lease(2000);
    await store.put(`${root}k`, bytes('1'), lease);
    const { seen, close } = await watched(root);
    await etcd.server.kill();
    await etcd.server.start({ forget: true });
    await eventually(() => expect(seen).toEqual(['snapshot of 1', 'snapshot of 0']), 10_000);
    await eventually(() => expect(lease.lost.reason).toMatchObject({ code: 'LEASE_LOST' }), 10_000);
    await store.put(`${root}k`, bytes('2'));
    await eventually(() => expect(seen.at(-1)).toBe(`put ${root}k=2`));
    await close();
  });
});

describe('leases in time', () => {
  let etcd: TestEtcd;
  beforeAll(async () => {
    etcd = await startEtcd();
  });
  afterAll(() => etcd.server.stop());

  test('a lease is kept alive beyond its time to live, and one that is not expires and is reported', async () => {
    const clock = new ManualClock();
    const [kept, asleep] = [
      await connectEtcdStore({ urls: [etcd.url], log }),
      await connectEtcdStore({ urls: [etcd.url], log, clock }),
    ];
    const lease = await kept.lease(1000);
    const neglected = await asleep.lease(1000);
    await kept.put('/kept', bytes('1'), lease);
    await asleep.put('/neglected', bytes('1'), neglected);
    // etcd gives no lease less than 2 s: by the time it has deleted this key, the other has outlived one life as well.
    await eventually(async () => expect(await kept.get('/neglected')).toBeUndefined(), 10_000);
    expect(await kept.get('/kept')).toBeDefined();
    expect([lease.lost.aborted, neglected.lost.aborted]).toEqual([false, false]);
    clock.advance(1000);
    await eventually(() => expect(neglected.lost.reason).toMatchObject({ code: 'LEASE_LOST' }));
    await kept.close();
    await asleep.close();
  });

  test('closing a store releases its leases', async () => {
    const store = await connectEtcdStore({ urls: [etcd.url], log });
    await store.put('/closed', bytes('1'), await store.lease(60_000));
    await store.close();
    const other = await connectEtcdStore({ urls: [etcd.url], log });
    expect(await other.get('/closed')).toBeUndefined();
    await other.close();
  });
});

describe('at the start', () => {
  test('an absent etcd is waited for aloud, then named with a remedy', async () => {
    const { log: kept, warnings } = listeningLog();
    const url = `http://127.0.0.1:${await freePort()}`;
    const start = connectEtcdStore({ urls: [url], log: kept, startLimitMs: 600 });
    await expect(start).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: `etcd at ${url} did not answer within 600 ms`,
      remedy: 'start etcd there, or configure the address where it is',
    });
    expect(warnings).toEqual(['waiting for etcd']);
  });

  test('a member that is down costs one request, not the service', async () => {
    const etcd = await startEtcd();
    const down = `http://127.0.0.1:${await freePort()}`;
    const store = await connectEtcdStore({ urls: [down, etcd.url], log });
    await store.put('/k', bytes('1'));
    expect(store.connected).toBe(true);
    await store.close();
    await etcd.server.stop();
  });
});
