/**
 * The store inside one process: same revisions, guards and watches as etcd's, state gone at exit.
 * A lease cannot outlive its owner here, so it ends only by release(), revokeLease() or close().
 */
import { assert } from './assert.ts';
import { TriremeError } from './errors.ts';
import {
  checkWrites,
  type Guard,
  type Lease,
  type Store,
  type StoreEntry,
  type Transaction,
  type TransactionOutcome,
  type Watch,
  type WatchEvent,
  type Write,
} from './store.ts';

interface EmbeddedLease {
  readonly lease: Lease;
  readonly keys: Set<string>;
  readonly lost: AbortController;
}

interface Watcher {
  readonly prefix: string;
  readonly onEvent: (event: WatchEvent) => void;
}

export class EmbeddedStore implements Store {
  #revision = 1;
  #nextLease = 1;
  #closed = false;
  readonly #entries = new Map<string, StoreEntry>();
  readonly #leases = new Map<string, EmbeddedLease>();
  readonly #watchers = new Set<Watcher>();
  readonly #onConnection: ((connected: boolean) => void)[] = [];

  get connected(): boolean {
    return !this.#closed;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#onConnection.push(onChange);
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    this.#assertOpen();
    return this.#entries.get(key);
  }

  async list(prefix: string): Promise<readonly StoreEntry[]> {
    this.#assertOpen();
    return this.#under(prefix);
  }

  async put(key: string, value: Uint8Array, lease?: Lease): Promise<void> {
    await this.transact({ guards: [], writes: [lease ? { put: key, value, lease } : { put: key, value }] });
  }

  async delete(key: string): Promise<void> {
    await this.transact({ guards: [], writes: [{ delete: key }] });
  }

  async transact({ guards, writes }: Transaction): Promise<TransactionOutcome> {
    this.#assertOpen();
    checkWrites(writes);
    if (!guards.every((guard) => this.#holds(guard))) return { applied: false, revision: this.#revision };
    for (const write of writes) {
      if ('put' in write && write.lease) this.#leaseOf(write.lease);
    }
    this.#apply(writes);
    return { applied: true, revision: this.#revision };
  }

  async lease(ttlMs: number): Promise<Lease> {
    this.#assertOpen();
    assert(ttlMs > 0, `a lease of ${ttlMs} ms`);
    const id = String(this.#nextLease++);
    const lost = new AbortController();
    const lease: Lease = { id, lost: lost.signal, release: async () => this.#end(id) };
    this.#leases.set(id, { lease, keys: new Set(), lost });
    return lease;
  }

  /** Ends a lease from outside, as an expiry would: its keys go, then `lost` fires. Unknown ids do nothing. */
  revokeLease(id: string): void {
    const held = this.#leases.get(id);
    this.#end(id);
    held?.lost.abort(new TriremeError('LEASE_LOST', `lease ${id} was revoked`));
  }

  watch(prefix: string, onEvent: (event: WatchEvent) => void): Watch {
    this.#assertOpen();
    const watcher = { prefix, onEvent };
    this.#watchers.add(watcher);
    this.#deliver(watcher, { kind: 'snapshot', entries: this.#under(prefix), revision: this.#revision });
    return {
      close: async () => {
        this.#watchers.delete(watcher);
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    for (const id of [...this.#leases.keys()]) this.#end(id);
    this.#closed = true;
    this.#watchers.clear();
    for (const onChange of this.#onConnection) onChange(false);
  }

  #apply(writes: readonly Write[]): void {
    const effective = writes.filter((write) => 'put' in write || this.#entries.has(write.delete));
    if (effective.length === 0) return;
    this.#revision++;
    for (const write of effective) {
      if ('put' in write) this.#putNow(write.put, write.value, write.lease);
      else this.#deleteNow(write.delete);
    }
  }

  #putNow(key: string, value: Uint8Array, lease: Lease | undefined): void {
    const createRevision = this.#entries.get(key)?.createRevision ?? this.#revision;
    const entry = { key, value: value.slice(), modRevision: this.#revision, createRevision };
    for (const held of this.#leases.values()) held.keys.delete(key);
    if (lease) this.#leaseOf(lease).keys.add(key);
    this.#entries.set(key, entry);
    this.#announce(key, { kind: 'put', entry });
  }

  #deleteNow(key: string): void {
    if (!this.#entries.delete(key)) return;
    for (const held of this.#leases.values()) held.keys.delete(key);
    this.#announce(key, { kind: 'delete', key });
  }

  #end(id: string): void {
    const held = this.#leases.get(id);
    if (!held) return;
    this.#apply([...held.keys].map((key) => ({ delete: key })));
    this.#leases.delete(id);
  }

  #leaseOf(lease: Lease): EmbeddedLease {
    const held = this.#leases.get(lease.id);
    if (held?.lease !== lease) throw new TriremeError('LEASE_LOST', `lease ${lease.id} is no longer held`);
    return held;
  }

  #holds(guard: Guard): boolean {
    const entry = this.#entries.get(guard.key);
    if ('createRevision' in guard) return (entry?.createRevision ?? 0) === guard.createRevision;
    return (entry?.modRevision ?? 0) === guard.modRevision;
  }

  #under(prefix: string): StoreEntry[] {
    const found = [...this.#entries.values()].filter((entry) => entry.key.startsWith(prefix));
    // As etcd orders them: by bytes, which is not the order of UTF-16 that `<` knows.
    return found.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
  }

  #announce(key: string, event: WatchEvent): void {
    for (const watcher of this.#watchers) if (key.startsWith(watcher.prefix)) this.#deliver(watcher, event);
  }

  #deliver(watcher: Watcher, event: WatchEvent): void {
    queueMicrotask(() => {
      if (this.#watchers.has(watcher)) watcher.onEvent(event);
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw new TriremeError('STORE_UNAVAILABLE', 'the embedded store is closed');
  }
}
