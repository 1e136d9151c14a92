/**
 * The store of placement: a small ordered key-value space with revisions, leases and watches.
 * Two adapters (store-etcd.ts, store-embedded.ts) pass test/contract/store-contract.ts.
 */
import { assert } from './assert.ts';
import { TriremeError } from './errors.ts';

/** Keys and values of one transaction together: etcd refuses 1.5 MiB, so that is left some room for its framing. */
export const maxTransactionBytes = 1 << 20;

export interface StoreEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Store revision of the last write to this key. */
  readonly modRevision: number;
  /** Store revision at which this key was created; changes when it is deleted and made again. */
  readonly createRevision: number;
}

/** All must hold for a transaction to be applied. Revision 0 of either kind means: the key does not exist. */
export type Guard =
  | { readonly key: string; readonly createRevision: number }
  | { readonly key: string; readonly modRevision: number };

export type Write =
  | { readonly put: string; readonly value: Uint8Array; readonly lease?: Lease }
  | { readonly delete: string };

/** A key may be written once. */
export interface Transaction {
  readonly guards: readonly Guard[];
  readonly writes: readonly Write[];
}

export interface TransactionOutcome {
  readonly applied: boolean;
  readonly revision: number;
}

export interface Lease {
  readonly id: string;
  /**
   * Aborts once, with LEASE_LOST, when the store says that the lease is gone (expired or revoked elsewhere); never on
   * release(). While the store is away nobody can say so: whoever must not act on a lost lease guards its writes.
   */
  readonly lost: AbortSignal;
  /** Deletes its keys at once. Idempotent; worth repeating after STORE_UNAVAILABLE. */
  release(): Promise<void>;
}

export type WatchEvent =
  /** The whole prefix as it is now: at the start, and again whenever history was lost. Diff against it. */
  | { readonly kind: 'snapshot'; readonly entries: readonly StoreEntry[]; readonly revision: number }
  | { readonly kind: 'put'; readonly entry: StoreEntry }
  | { readonly kind: 'delete'; readonly key: string };

export interface Watch {
  close(): Promise<void>;
}

/**
 * Errors: STORE_UNAVAILABLE when the store does not answer within the request time-out (a write may have been applied
 * all the same), LEASE_LOST for a write under a lease that is gone, MESSAGE_TOO_LARGE for a transaction of more than
 * maxTransactionBytes.
 */
export interface Store {
  get(key: string): Promise<StoreEntry | undefined>;
  /** Entries under a prefix, ordered by key. */
  list(prefix: string): Promise<readonly StoreEntry[]>;
  put(key: string, value: Uint8Array, lease?: Lease): Promise<void>;
  delete(key: string): Promise<void>;
  transact(transaction: Transaction): Promise<TransactionOutcome>;
  /** Kept alive until release() or the store's end. ttlMs is rounded up to whole seconds by etcd. */
  lease(ttlMs: number): Promise<Lease>;
  /**
   * Events in order, one at a time, onEvent must not throw. Starts with a snapshot. After a disconnection it goes on
   * where it was, or with another snapshot when history was lost.
   */
  watch(prefix: string, onEvent: (event: WatchEvent) => void): Watch;
  /** True while the store answers. onChange is called on every change. */
  readonly connected: boolean;
  onConnection(onChange: (connected: boolean) => void): void;
  close(): Promise<void>;
}

/** Throws MESSAGE_TOO_LARGE for more than any adapter takes; asserts that no key is written twice. */
export function checkWrites(writes: readonly Write[]): void {
  const keys = writes.map((write) => ('put' in write ? write.put : write.delete));
  assert(new Set(keys).size === keys.length, `a transaction writes a key twice: ${keys.join(', ')}`);
  const bytes = writes.reduce((sum, write) => sum + ('put' in write ? write.put.length + write.value.length : 0), 0);
  if (bytes > maxTransactionBytes) {
    throw new TriremeError('MESSAGE_TOO_LARGE', `a transaction of ${bytes} bytes; the limit is ${maxTransactionBytes}`);
  }
}
