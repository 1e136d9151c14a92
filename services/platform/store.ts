/**
 * The store of placement: a small ordered key-value space with revisions, leases and watches.
 * Two adapters (store-etcd.ts, store-embedded.ts) pass test/contract/store-contract.ts.
 */

export interface StoreEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Store revision of the last write to this key. */
  readonly modRevision: number;
  /** Store revision at which this key was created; changes when it is deleted and made again. */
  readonly createRevision: number;
}

/** All must hold for a transaction to be applied. createRevision 0 means: the key does not exist. */
export type Guard =
  | { readonly key: string; readonly createRevision: number }
  | { readonly key: string; readonly modRevision: number };

export type Write =
  | { readonly put: string; readonly value: Uint8Array; readonly lease?: Lease }
  | { readonly delete: string };

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
  /** Aborts once when the lease is lost (expired or revoked elsewhere), never on release(). */
  readonly lost: AbortSignal;
  /** Deletes its keys at once. Idempotent. */
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

/** Errors: STORE_UNAVAILABLE when the store does not answer within the request time-out. */
export interface Store {
  get(key: string): Promise<StoreEntry | undefined>;
  /** Entries under a prefix, ordered by key. */
  list(prefix: string): Promise<readonly StoreEntry[]>;
  put(key: string, value: Uint8Array, lease?: Lease): Promise<void>;
  delete(key: string): Promise<void>;
  transact(transaction: Transaction): Promise<TransactionOutcome>;
  /** Kept alive until release() or the store's end. ttlMs is rounded up to whole seconds by etcd. */
  lease(ttlMs: number): Promise<Lease>;
  /** Events in order, one at a time. Starts with a snapshot; survives disconnection and compaction by sending another. */
  watch(prefix: string, onEvent: (event: WatchEvent) => void): Watch;
  /** True while the store answers. onChange is called on every change. */
  readonly connected: boolean;
  onConnection(onChange: (connected: boolean) => void): void;
  close(): Promise<void>;
}
