/**
 * Keeps workers/<id> in the store, under a lease. The lease says who may be given work and nothing else: while it is lost or
 * the store is away the worker serves on, and registers again with the same incarnation as soon as it can.
 *
 * Of two processes with one id the younger has it: a start takes the record over, a return leaves another's record alone.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Guard, Lease, Store } from '#platform/store.ts';
import { workerKey } from '#proto/keys.ts';
import { WorkerRecord } from '#proto/records.ts';

export interface RegistrationOptions {
  readonly store: Store;
  readonly record: WorkerRecord;
  readonly leaseTtlMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Between attempts to register again: for ever, since nothing but the store's return can help. */
const retryDelayMs = 1000;

export class Registration {
  #lease: Lease | undefined;
  readonly #stopped = new AbortController();
  readonly #options: RegistrationOptions;

  constructor(options: RegistrationOptions) {
    this.#options = options;
  }

  /** Registers for the first time. Errors: STORE_UNAVAILABLE. */
  async start(): Promise<void> {
    await this.#register(async () => []);
  }

  /** Deletes the record and keeps it deleted. Idempotent; a store that is away lets the lease expire instead. */
  async release(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort(new TriremeError('CANCELLED', 'the worker leaves'));
    try {
      await this.#lease?.release();
    } catch (error) {
      this.#options.log.warn({ err: error }, 'could not delete the registration; it expires with its lease');
    }
  }

  async #register(guards: () => Promise<Guard[]>): Promise<void> {
    const { store, record, leaseTtlMs } = this.#options;
    const lease = await store.lease(leaseTtlMs);
    try {
      const put = { put: workerKey(record.id), value: WorkerRecord.encode(record).finish(), lease };
      const { applied } = await store.transact({ guards: await guards(), writes: [put] });
      if (!applied) throw new TriremeError('UNAVAILABLE', `the record of worker ${record.id} changed meanwhile`);
      this.#stopped.signal.throwIfAborted();
      lease.lost.throwIfAborted();
    } catch (error) {
      await lease.release().catch(() => {}); // The first error counts; the lease expires by itself.
      throw error;
    }
    this.#lease = lease;
    lease.lost.addEventListener('abort', () => void this.#registerAgain(), { once: true });
  }

  async #registerAgain(): Promise<void> {
    const { log, clock, record } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#register(() => this.#guardOthersRecord());
        log.info({ worker: record.id }, 'registered again');
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: error, retryDelayMs }, 'the registration is lost; serving on');
      }
      await clock.sleep(retryDelayMs, signal).catch(() => {}); // Aborted: the loop's condition ends it.
    }
  }

  /** The record as it is must be absent or this process' own, and must not change before ours is written. */
  async #guardOthersRecord(): Promise<Guard[]> {
    const { store, record } = this.#options;
    const key = workerKey(record.id);
    const entry = await store.get(key);
    if (!entry) return [{ key, createRevision: 0 }];
    const { incarnation } = WorkerRecord.decode(entry.value);
    if (incarnation !== record.incarnation) {
      throw new TriremeError('UNAVAILABLE', `another process registered as worker ${record.id}`, {
        remedy: 'Give every worker an id of its own, or leave it out',
      });
    }
    return [{ key, modRevision: entry.modRevision }];
  }
}
