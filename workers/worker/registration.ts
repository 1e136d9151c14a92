/**
 * Keeps workers/<id> in the store, under a lease. The lease says who may be given work and nothing else: while it is lost or
 * the store is away the worker serves on, and registers again with the same incarnation as soon as it can.
 *
 * Of two processes with one id the younger has it: a start takes the record over, a return leaves another's record alone.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Guard, Lease, Store, Write } from '#platform/store.ts';
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
  #record: WorkerRecord;
  readonly #stopped = new AbortController();
  readonly #options: RegistrationOptions;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#record = options.record;
  }

  /** Registers for the first time. Errors: STORE_UNAVAILABLE. */
  async start(): Promise<void> {
    await this.#register(async () => []);
  }

  /** Says something new of the worker; resolves when it is written, however long the store is away, or left to the next registration. */
  async update(record: WorkerRecord): Promise<void> {
    this.#record = record;
    const { clock, log, store } = this.#options;
    const lease = this.#lease;
    while (lease && lease === this.#lease && record === this.#record && !this.#stopped.signal.aborted) {
      try {
        const guards = await this.#guardOthersRecord();
        // Without the lease's record the next registration writes this one.
        if (!lease.lost.aborted) await store.transact({ guards, writes: [putRecord(record, lease)] });
        return;
      } catch (error) {
        log.warn({ err: error, retryDelayMs }, 'the registration could not be changed; trying again');
      }
      await clock.sleep(retryDelayMs, this.#stopped.signal).catch(() => {}); // Aborted: the loop's condition ends it.
    }
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
    const { store, leaseTtlMs } = this.#options;
    const record = this.#record;
    const lease = await store.lease(leaseTtlMs);
    try {
      const { applied } = await store.transact({ guards: await guards(), writes: [putRecord(record, lease)] });
      if (!applied) throw new TriremeError('UNAVAILABLE', `the record of worker ${record.id} changed meanwhile`);
      this.#stopped.signal.throwIfAborted();
      lease.lost.throwIfAborted();
    } catch (error) {
      await lease.release().catch(() => {}); // The first error counts; the lease expires by itself.
      throw error;
    }
    this.#lease = lease;
    if (record !== this.#record) void this.update(this.#record);
    lease.lost.addEventListener('abort', () => void this.#registerAgain(), { once: true });
  }

  async #registerAgain(): Promise<void> {
    const { log, clock } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        await this.#register(() => this.#guardOthersRecord());
        log.info({ worker: this.#record.id }, 'registered again');
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
    const { store } = this.#options;
    const record = this.#record;
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

function putRecord(record: WorkerRecord, lease: Lease): Write {
  return { put: workerKey(record.id), value: WorkerRecord.encode(record).finish(), lease };
}
