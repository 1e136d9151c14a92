/** The store over etcd. With its parts in store-etcd-*.ts the only importer of etcd3. */
import type { ICompare, IRequestOp } from 'etcd3';
import { assert } from './assert.ts';
import { type Clock, systemClock } from './clock.ts';
import { TriremeError } from './errors.ts';
import type { Logger } from './log.ts';
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
import { EtcdClient } from './store-etcd-client.ts';
import { EtcdLease } from './store-etcd-lease.ts';
import { listRange, prefixRange, toEntry } from './store-etcd-range.ts';
import { EtcdWatch } from './store-etcd-watch.ts';
import { waitForStart } from './wait-for-start.ts';

export interface EtcdStoreOptions {
  /** Members of one cluster: http://host:port. */
  readonly urls: readonly string[];
  readonly log: Logger;
  /** Every request ends with STORE_UNAVAILABLE after this long. Default 3,000. */
  readonly requestTimeoutMs?: number;
  /** How long to wait for etcd at the start. Default 30,000. */
  readonly startLimitMs?: number;
  readonly clock?: Clock;
}

/** Connects, waiting with a message when etcd is not there yet. Errors: STORE_UNAVAILABLE after startLimitMs. */
export async function connectEtcdStore(options: EtcdStoreOptions): Promise<Store> {
  const { urls, log, requestTimeoutMs = 3000, startLimitMs = 30_000, clock = systemClock } = options;
  const client = new EtcdClient({ urls, requestTimeoutMs, clock });
  try {
    const url = urls.join(',');
    const start = { name: 'etcd', url, code: 'STORE_UNAVAILABLE', limitMs: startLimitMs } as const;
    await waitForStart({ ...start, clock, log }, () => client.probe());
  } catch (error) {
    client.close();
    throw error;
  }
  client.startProbing();
  return new EtcdStore(client, log);
}

class EtcdStore implements Store {
  readonly #client: EtcdClient;
  readonly #leases = new Map<string, EtcdLease>();
  readonly #log: Logger;
  readonly #watches = new Set<EtcdWatch>();

  constructor(client: EtcdClient, log: Logger) {
    this.#client = client;
    this.#log = log;
    client.onConnection((connected) => {
      if (client.closed) return;
      log[connected ? 'info' : 'warn']({ url: client.url }, connected ? 'etcd is back' : 'etcd does not answer');
      if (!connected) for (const watch of this.#watches) watch.reopen();
    });
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#client.onConnection(onChange);
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    const { kvs } = await this.#client.call((member, options) => member.kv.range({ key: Buffer.from(key) }, options));
    return kvs[0] && toEntry(kvs[0]);
  }

  async list(prefix: string): Promise<readonly StoreEntry[]> {
    return (await listRange(this.#client, prefixRange(prefix))).entries;
  }

  async put(key: string, value: Uint8Array, lease?: Lease): Promise<void> {
    await this.transact({ guards: [], writes: [lease ? { put: key, value, lease } : { put: key, value }] });
  }

  async delete(key: string): Promise<void> {
    await this.transact({ guards: [], writes: [{ delete: key }] });
  }

  async transact({ guards, writes }: Transaction): Promise<TransactionOutcome> {
    checkWrites(writes);
    const request = { compare: guards.map(toCompare), success: writes.map(toOperation) };
    try {
      const { succeeded, header } = await this.#client.call((member, options) => member.kv.txn(request, options));
      return { applied: succeeded, revision: Number(header.revision) };
    } catch (error) {
      if (TriremeError.from(error).code === 'LEASE_LOST') this.#checkLeases(writes);
      throw error;
    }
  }

  async lease(ttlMs: number): Promise<Lease> {
    assert(ttlMs > 0, `a lease of ${ttlMs} ms`);
    const lease = await EtcdLease.grant(this.#client, ttlMs, ({ id }) => this.#leases.delete(id));
    this.#leases.set(lease.id, lease);
    return lease;
  }

  watch(prefix: string, onEvent: (event: WatchEvent) => void): Watch {
    assert(!this.#client.closed, 'a watch on a closed store');
    const watch = new EtcdWatch({ client: this.#client, range: prefixRange(prefix), onEvent, log: this.#log });
    this.#watches.add(watch);
    return {
      close: async () => {
        this.#watches.delete(watch);
        await watch.close();
      },
    };
  }

  async close(): Promise<void> {
    if (this.#client.closed) return;
    const ends = [...[...this.#watches].map((watch) => watch.close()), ...this.#releaseAll()];
    this.#watches.clear();
    await Promise.all(ends);
    this.#client.close();
  }

  /** etcd said that one of these leases is gone; each finds out at once whether it is that one. */
  #checkLeases(writes: readonly Write[]): void {
    for (const write of writes) if ('put' in write && write.lease) this.#leases.get(write.lease.id)?.renewNow();
  }

  #releaseAll(): Promise<void>[] {
    return [...this.#leases.values()].map((lease) =>
      lease.release().catch((error: unknown) => {
        this.#log.warn({ err: error, ttlMs: lease.ttlMs }, 'could not release a lease; it ends by itself');
      }),
    );
  }
}

function toCompare(guard: Guard): ICompare {
  const key = Buffer.from(guard.key);
  if ('createRevision' in guard) {
    return { key, target: 'Create', result: 'Equal', create_revision: guard.createRevision };
  }
  return { key, target: 'Mod', result: 'Equal', mod_revision: guard.modRevision };
}

function toOperation(write: Write): IRequestOp {
  if ('delete' in write) return { request_delete_range: { key: Buffer.from(write.delete) } };
  const put = { key: Buffer.from(write.put), value: Buffer.from(write.value) };
  return { request_put: write.lease ? { ...put, lease: write.lease.id } : put };
}
