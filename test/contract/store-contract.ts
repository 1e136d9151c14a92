/** What every Store promises. Run over the embedded one and over etcd. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { maxTransactionBytes, type Store, type WatchEvent } from '#platform/store.ts';
import { eventually } from './eventually.ts';

export interface StoreFixture {
  readonly store: Store;
  /** Ends a lease as an expiry would: from outside. */
  revokeLease(id: string): Promise<void>;
  /** Opens a store of its own that a test may close. */
  openAnother(): Promise<Store>;
  stop(): Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (value: Uint8Array): string => new TextDecoder().decode(value);

/** An event in few words: `snapshot a=1,b=2`, `put a=1`, `delete a`; keys without the test's root. */
function describeEvent(event: WatchEvent, root: string): string {
  const short = (key: string): string => key.slice(root.length);
  if (event.kind === 'delete') return `delete ${short(event.key)}`;
  if (event.kind === 'put') return `put ${short(event.entry.key)}=${textOf(event.entry.value)}`;
  return `snapshot ${event.entries.map((entry) => `${short(entry.key)}=${textOf(entry.value)}`).join(',')}`;
}

/** Applies events as a reader of the store would. */
function fold(state: Map<string, string>, event: WatchEvent): void {
  if (event.kind === 'delete') state.delete(event.key);
  else if (event.kind === 'put') state.set(event.entry.key, textOf(event.entry.value));
  else {
    state.clear();
    for (const entry of event.entries) state.set(entry.key, textOf(entry.value));
  }
}

export function storeContract(name: string, start: () => Promise<StoreFixture>): void {
  describe(`the ${name} store`, () => {
    let fixture: StoreFixture;
    let store: Store;
    let tests = 0;
    const newRoot = (): string => `/contract/${tests++}/`;
    beforeAll(async () => {
      fixture = await start();
      store = fixture.store;
    });
    afterAll(() => fixture.stop());

    /** A watch with the words of its events, already past its snapshot. */
    async function watched(prefix: string, root: string): Promise<{ seen: string[]; close(): Promise<void> }> {
      const seen: string[] = [];
      const watch = store.watch(prefix, (event) => seen.push(describeEvent(event, root)));
      await eventually(() => expect(seen).toHaveLength(1));
      return { seen, close: () => watch.close() };
    }

    describe('entries', () => {
      test('an absent key is undefined; a present one has its value and revisions that rise with every write', async () => {
        const key = `${newRoot()}k`;
        expect(await store.get(key)).toBeUndefined();
        await store.put(key, bytes('1'));
        const first = await store.get(key);
        await store.put(key, bytes('2'));
        const second = await store.get(key);
        expect([first?.key, textOf(first!.value), textOf(second!.value)]).toEqual([key, '1', '2']);
        expect(first?.modRevision).toBe(first?.createRevision);
        expect(second?.createRevision).toBe(first?.createRevision);
        expect(second?.modRevision).toBeGreaterThan(first!.modRevision);
      });

      test('a key that was deleted and made again has a new create revision', async () => {
        const key = `${newRoot()}k`;
        await store.put(key, bytes('1'));
        const first = await store.get(key);
        await store.delete(key);
        expect(await store.get(key)).toBeUndefined();
        await store.delete(key);
        await store.put(key, bytes('1'));
        expect((await store.get(key))!.createRevision).toBeGreaterThan(first!.createRevision);
      });

      test('a value that the caller changes after the write does not change in the store', async () => {
        const key = `${newRoot()}k`;
        const value = bytes('1');
        const put = store.put(key, value);
        await put;
        value[0] = 0;
        expect(textOf((await store.get(key))!.value)).toBe('1');
      });

      test('an empty value and all 256 byte values come back as they were', async () => {
        const root = newRoot();
        const all = Uint8Array.from({ length: 256 }, (_, i) => i);
        await store.put(`${root}empty`, new Uint8Array());
        await store.put(`${root}all`, all);
        expect((await store.get(`${root}empty`))?.value).toEqual(new Uint8Array());
        expect((await store.get(`${root}all`))?.value).toEqual(all);
      });

      test('a value of nearly the limit is kept, one beyond it is refused by name and nothing is written', async () => {
        const root = newRoot();
        const large = new Uint8Array(maxTransactionBytes - 100).fill(7);
        await store.put(`${root}large`, large);
        expect(Buffer.compare((await store.get(`${root}large`))!.value, large)).toBe(0);
        const tooLarge = store.put(`${root}too-large`, new Uint8Array(maxTransactionBytes + 1));
        await expect(tooLarge).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
        expect((await store.list(root)).map(({ key }) => key)).toEqual([`${root}large`]);
      });

      test('a list is ordered by the bytes of its keys and keeps to its prefix at both ends', async () => {
        const root = newRoot();
        const inside = ['b', 'b!', 'b/', 'b/a', 'b0', 'bb', 'bé', 'b\u{ffff}', 'b\u{1f6a3}'];
        const outside = ['', 'a', 'B', 'a\u{10ffff}', 'c', 'ab'];
        for (const key of [...outside, ...inside].reverse()) await store.put(root + key, bytes('1'));
        expect((await store.list(`${root}b`)).map(({ key }) => key.slice(root.length))).toEqual(inside);
        expect(await store.list(`${root}none`)).toEqual([]);
        const keys = (await store.list('')).map(({ key }) => key);
        expect(keys).toEqual(keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
        expect(keys).toContain(root);
      });
    });

    describe('transactions', () => {
      test('when all guards hold every write is applied, at one revision', async () => {
        const root = newRoot();
        await store.put(`${root}old`, bytes('1'));
        const old = await store.get(`${root}old`);
        const outcome = await store.transact({
          guards: [
            { key: `${root}old`, modRevision: old!.modRevision },
            { key: `${root}old`, createRevision: old!.createRevision },
            { key: `${root}new`, createRevision: 0 },
            { key: `${root}new`, modRevision: 0 },
          ],
          writes: [
            { put: `${root}new`, value: bytes('2') },
            { delete: `${root}old` },
            { put: `${root}b`, value: bytes('3') },
          ],
        });
        const entries = await store.list(root);
        expect(outcome.applied).toBe(true);
        expect(entries.map(({ key }) => key)).toEqual([`${root}b`, `${root}new`]);
        expect(entries.map(({ modRevision }) => modRevision)).toEqual([outcome.revision, outcome.revision]);
      });

      test.each([
        ['a key that must not exist does', { createRevision: 0 }],
        ['a mod revision is older', { modRevision: 1 }],
        ['a create revision is another', { createRevision: 1 }],
      ])('nothing is applied when %s', async (_, revision) => {
        const root = newRoot();
        await store.put(`${root}k`, bytes('1'));
        const before = await store.get(`${root}k`);
        const outcome = await store.transact({
          guards: [
            { key: `${root}k`, createRevision: before!.createRevision },
            { key: `${root}k`, ...revision },
          ],
          writes: [
            { put: `${root}k`, value: bytes('2') },
            { put: `${root}other`, value: bytes('2') },
          ],
        });
        expect(outcome.applied).toBe(false);
        expect(outcome.revision).toBeGreaterThanOrEqual(before!.modRevision);
        expect(await store.list(root)).toEqual([before]);
      });

      test('one with a write under a lease that is gone writes nothing at all', async () => {
        const root = newRoot();
        const lease = await store.lease(60_000);
        await lease.release();
        const writes = [
          { put: `${root}a`, value: bytes('1') },
          { put: `${root}b`, value: bytes('1'), lease },
        ];
        await expect(store.transact({ guards: [], writes })).rejects.toMatchObject({ code: 'LEASE_LOST' });
        expect(await store.list(root)).toEqual([]);
      });

      test('one without writes only asks whether its guards hold', async () => {
        const key = `${newRoot()}k`;
        const ask = { guards: [{ key, createRevision: 0 }], writes: [] };
        expect((await store.transact(ask)).applied).toBe(true);
        await store.put(key, bytes('1'));
        expect((await store.transact(ask)).applied).toBe(false);
      });

      test('of 20 that create one key at once exactly one is applied', async () => {
        const key = `${newRoot()}k`;
        const outcomes = await Promise.all(
          Array.from({ length: 20 }, (_, i) =>
            store.transact({ guards: [{ key, createRevision: 0 }], writes: [{ put: key, value: bytes(`${i}`) }] }),
          ),
        );
        const winners = outcomes.flatMap(({ applied }, i) => (applied ? [`${i}`] : []));
        expect(winners).toHaveLength(1);
        expect(textOf((await store.get(key))!.value)).toBe(winners[0]);
      });

      test('ten writers that increment under a guard lose no increment', async () => {
        const key = `${newRoot()}counter`;
        await store.put(key, bytes('0'));
        const increment = async (): Promise<void> => {
          for (;;) {
            const { value, modRevision } = (await store.get(key))!;
            const next = bytes(`${Number(textOf(value)) + 1}`);
            const write = { guards: [{ key, modRevision }], writes: [{ put: key, value: next }] };
            if ((await store.transact(write)).applied) return;
          }
        };
        await Promise.all(Array.from({ length: 10 }, increment));
        expect(textOf((await store.get(key))!.value)).toBe('10');
      });

      test('a key written twice in one transaction is a bug of the caller', async () => {
        const key = `${newRoot()}k`;
        const twice = store.transact({ guards: [], writes: [{ put: key, value: bytes('1') }, { delete: key }] });
        await expect(twice).rejects.toThrow('writes a key twice');
      });
    });

    describe('leases', () => {
      test('releasing a lease deletes its keys and no others, and does not count as a loss', async () => {
        const root = newRoot();
        const [mine, other] = [await store.lease(60_000), await store.lease(60_000)];
        await store.put(`${root}mine`, bytes('1'), mine);
        await store.put(`${root}other`, bytes('1'), other);
        await store.put(`${root}free`, bytes('1'));
        await mine.release();
        await mine.release();
        expect((await store.list(root)).map(({ key }) => key)).toEqual([`${root}free`, `${root}other`]);
        expect([mine.lost.aborted, other.lost.aborted]).toEqual([false, false]);
        await other.release();
      });

      test('a lease revoked from outside takes its keys along and is reported lost by name', async () => {
        const root = newRoot();
        const lease = await store.lease(1000);
        await store.put(`${root}k`, bytes('1'), lease);
        await fixture.revokeLease(lease.id);
        await eventually(() => expect(lease.lost.aborted).toBe(true));
        expect(lease.lost.reason).toMatchObject({ code: 'LEASE_LOST' });
        expect(await store.list(root)).toEqual([]);
        await lease.release();
      });

      test('a write under a lease that is gone is refused by name, and the loss is noticed at once', async () => {
        const root = newRoot();
        const lease = await store.lease(60_000);
        await fixture.revokeLease(lease.id);
        const write = store.put(`${root}k`, bytes('1'), lease);
        await expect(write).rejects.toMatchObject({ code: 'LEASE_LOST' });
        await eventually(() => expect(lease.lost.aborted).toBe(true));
        const released = await store.lease(60_000);
        await released.release();
        await expect(store.put(`${root}k`, bytes('1'), released)).rejects.toMatchObject({ code: 'LEASE_LOST' });
        expect(await store.list(root)).toEqual([]);
      });

      test('a key written again without the lease, or under another, no longer goes with it', async () => {
        const root = newRoot();
        const [first, second] = [await store.lease(60_000), await store.lease(60_000)];
        await store.put(`${root}a`, bytes('1'), first);
        await store.put(`${root}b`, bytes('1'), first);
        await store.put(`${root}a`, bytes('2'));
        await store.put(`${root}b`, bytes('2'), second);
        await first.release();
        expect((await store.list(root)).map(({ value }) => textOf(value))).toEqual(['2', '2']);
        await second.release();
        expect((await store.list(root)).map(({ key }) => key)).toEqual([`${root}a`]);
      });
    });

    describe('watches', () => {
      test('the first event is a snapshot, later ones come in the order of the writes', async () => {
        const root = newRoot();
        await store.put(`${root}b`, bytes('0'));
        await store.put(`${root}a`, bytes('0'));
        const { seen, close } = await watched(root, root);
        await store.put(`${root}c`, bytes('1'));
        await store.put(`${root}a`, bytes('2'));
        await store.delete(`${root}b`);
        await store.delete(`${root}absent`);
        await store.put(`${root}b`, bytes('3'));
        const expected = ['snapshot a=0,b=0', 'put c=1', 'put a=2', 'delete b', 'put b=3'];
        await eventually(() => expect(seen).toEqual(expected));
        await close();
      });

      test('a watch sees its prefix only, to both ends', async () => {
        const root = newRoot();
        const { seen, close } = await watched(`${root}b`, root);
        for (const key of ['a\u{10ffff}', 'b', 'B', 'b/', 'c', 'b\u{10ffff}', 'ab'])
          await store.put(root + key, bytes('1'));
        await store.put(`${root}b-last`, bytes('1'));
        await eventually(() => expect(seen.at(-1)).toBe('put b-last=1'));
        expect(seen).toEqual(['snapshot ', 'put b=1', 'put b/=1', 'put b\u{10ffff}=1', 'put b-last=1']);
        await close();
      });

      test('revisions in events are those of the entries', async () => {
        const root = newRoot();
        const events: WatchEvent[] = [];
        await store.put(`${root}k`, bytes('1'));
        const watch = store.watch(root, (event) => events.push(event));
        await eventually(() => expect(events).toHaveLength(1));
        const before = await store.get(`${root}k`);
        await store.put(`${root}k`, bytes('2'));
        await eventually(() => expect(events).toHaveLength(2));
        expect(events[0]).toMatchObject({ kind: 'snapshot', entries: [before] });
        expect(events[1]).toEqual({ kind: 'put', entry: await store.get(`${root}k`) });
        await watch.close();
      });

      test('the writes of one transaction arrive in its order, and one that was not applied never does', async () => {
        const root = newRoot();
        const { seen, close } = await watched(root, root);
        const put = (key: string) => ({ put: root + key, value: bytes('1') });
        await store.transact({ guards: [{ key: `${root}z`, modRevision: 5 }], writes: [put('never')] });
        await store.transact({ guards: [], writes: [put('z'), put('a'), put('m')] });
        await store.transact({ guards: [], writes: [{ delete: `${root}m` }, { delete: `${root}a` }] });
        await eventually(() => expect(seen.at(-1)).toBe('delete a'));
        expect(seen).toEqual(['snapshot ', 'put z=1', 'put a=1', 'put m=1', 'delete m', 'delete a']);
        await close();
      });

      test('the keys of a lease that ends arrive as deletes', async () => {
        const root = newRoot();
        const lease = await store.lease(60_000);
        await store.put(`${root}k`, bytes('1'), lease);
        const { seen, close } = await watched(root, root);
        await lease.release();
        await eventually(() => expect(seen).toEqual(['snapshot k=1', 'delete k']));
        await close();
      });

      test('of 500 writes none is lost, doubled or out of order', async () => {
        const root = newRoot();
        const { seen, close } = await watched(root, root);
        const writes: Promise<void>[] = [];
        for (let i = 0; i < 500; i++) writes.push(store.put(`${root}k`, bytes(`${i}`)));
        await Promise.all(writes);
        await eventually(() => expect(seen).toHaveLength(501));
        const last = (await store.get(`${root}k`))!;
        expect(new Set(seen).size).toBe(501);
        expect(seen.at(-1)).toBe(`put k=${textOf(last.value)}`);
        await close();
      });

      test('a watch opened amid writes ends with the state that a list shows', async () => {
        const root = newRoot();
        const state = new Map<string, string>();
        const writes: Promise<unknown>[] = [];
        for (let i = 0; i < 60; i++) writes.push(store.put(`${root}${i % 7}`, bytes(`${i}`)));
        const watch = store.watch(root, (event) => fold(state, event));
        for (let i = 0; i < 60; i++) {
          const key = `${root}${i % 5}`;
          writes.push(i % 3 === 0 ? store.delete(key) : store.put(key, bytes(`later ${i}`)));
        }
        await Promise.all(writes);
        await store.put(`${root}end`, bytes('1'));
        await eventually(() => expect(state.has(`${root}end`)).toBe(true));
        const listed = (await store.list(root)).map(({ key, value }) => [key, textOf(value)] as const);
        expect(state).toEqual(new Map(listed));
        await watch.close();
      });

      test('a closed watch is silent, also when it is closed by its own listener; others go on', async () => {
        const root = newRoot();
        const other = await watched(root, root);
        const closed = await watched(root, root);
        const seen: string[] = [];
        const selfClosing = store.watch(root, (event) => {
          seen.push(describeEvent(event, root));
          if (event.kind === 'put') void selfClosing.close();
        });
        await eventually(() => expect(seen).toEqual(['snapshot ']));
        await closed.close();
        await closed.close();
        const put = (key: string) => ({ put: root + key, value: bytes('1') });
        await store.transact({ guards: [], writes: [put('a'), put('b'), put('c')] });
        await eventually(() => expect(other.seen).toEqual(['snapshot ', 'put a=1', 'put b=1', 'put c=1']));
        await eventually(() => expect(seen.length).toBeGreaterThan(1));
        await store.put(`${root}d`, bytes('1'));
        await eventually(() => expect(other.seen.at(-1)).toBe('put d=1'));
        expect([closed.seen, seen]).toEqual([['snapshot '], ['snapshot ', 'put a=1']]);
        await other.close();
      });
    });

    test('a closed store says so: connected is false, listeners hear it once, requests name the cause', async () => {
      const another = await fixture.openAnother();
      const changes: boolean[] = [];
      const seen: string[] = [];
      another.onConnection((connected) => changes.push(connected));
      expect(another.connected).toBe(true);
      another.watch('/', (event) => seen.push(event.kind));
      await eventually(() => expect(seen).toEqual(['snapshot']));
      const lease = await another.lease(60_000);
      await another.close();
      await another.close();
      expect([another.connected, changes, lease.lost.aborted]).toEqual([false, [false], false]);
      await expect(another.get('/k')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      await expect(another.put('/k', bytes('1'))).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
      await expect(another.lease(1000)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });
  });
}
