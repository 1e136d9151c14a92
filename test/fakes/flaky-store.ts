/** A store that can be cut off: calls fail with STORE_UNAVAILABLE, watches fall silent and start over when it is back. */
import { TriremeError } from '#platform/errors.ts';
import type { Lease, Store, StoreEntry, Transaction, TransactionOutcome, Watch, WatchEvent } from '#platform/store.ts';
import type { EmbeddedStore } from '#platform/store-embedded.ts';

export class FlakyStore implements Store {
  /** The next so many transactions are applied, but their answers are lost. */
  answersToLose = 0;
  #away = false;
  readonly #inner: EmbeddedStore;
  readonly #watches = new Set<FlakyWatch>();

  constructor(inner: EmbeddedStore) {
    this.#inner = inner;
  }

  get connected(): boolean {
    return !this.#away;
  }

  set away(away: boolean) {
    this.#away = away;
    for (const watch of this.#watches) watch.connect(!away);
  }

  onConnection(onChange: (connected: boolean) => void): void {
    this.#inner.onConnection(onChange);
  }

  async get(key: string): Promise<StoreEntry | undefined> {
    this.#assertHere();
    return this.#inner.get(key);
  }

  async list(prefix: string): Promise<readonly StoreEntry[]> {
    this.#assertHere();
    return this.#inner.list(prefix);
  }

  async put(key: string, value: Uint8Array, lease?: Lease): Promise<void> {
    this.#assertHere();
    await this.#inner.put(key, value, lease);
  }

  async delete(key: string): Promise<void> {
    this.#assertHere();
    await this.#inner.delete(key);
  }

  async transact(transaction: Transaction): Promise<TransactionOutcome> {
    this.#assertHere();
    const outcome = await this.#inner.transact(transaction);
    if (this.answersToLose === 0) return outcome;
    this.answersToLose--;
    throw new TriremeError('STORE_UNAVAILABLE', 'the answer was lost');
  }

  async lease(ttlMs: number): Promise<Lease> {
    this.#assertHere();
    return this.#inner.lease(ttlMs);
  }

  watch(prefix: string, onEvent: (event: WatchEvent) => void): Watch {
    const watch = new FlakyWatch(() => this.#inner.watch(prefix, onEvent));
    this.#watches.add(watch);
    watch.connect(!this.#away);
    return {
      close: async () => {
        this.#watches.delete(watch);
        watch.connect(false);
      },
    };
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  #assertHere(): void {
    if (this.#away) throw new TriremeError('STORE_UNAVAILABLE', 'the store is away');
  }
}

class FlakyWatch {
  #watch: Watch | undefined;
  readonly #start: () => Watch;

  constructor(start: () => Watch) {
    this.#start = start;
  }

  connect(connected: boolean): void {
    if (connected) this.#watch ??= this.#start();
    else {
      void this.#watch?.close();
      this.#watch = undefined;
    }
  }
}
