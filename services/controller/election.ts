/**
 * One controller at a time: whoever creates the leader key under its lease leads until the key or the lease goes. Every
 * write of a leader is guarded by the key's create revision, so that one that does not know yet that it lost writes nothing.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Guard, Lease, Store } from '#platform/store.ts';
import { leaderKey } from '#proto/keys.ts';
import { LeaderRecord } from '#proto/records.ts';

export interface Leadership {
  /** Holds as long as this controller leads. */
  readonly guard: Guard;
  /** Aborts when it no longer does, or when it is to stop. */
  readonly lost: AbortSignal;
}

export interface ElectionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Logger;
  readonly record: LeaderRecord;
  readonly leaseTtlMs: number;
  /** Pause after an error of the store; campaigning goes on until it is stopped. */
  readonly retryMs: number;
}

/**
 * Campaigns and leads, again and again, until the signal aborts. lead() must end soon after `lost`. Errors of the store
 * are logged and retried; whatever else lead() throws (a broken invariant) ends the election and is thrown on.
 */
export async function runElection(
  options: ElectionOptions,
  lead: (leadership: Leadership) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await campaignOnce(options, lead, signal);
    } catch (error) {
      if (!(error instanceof TriremeError)) throw error;
      if (signal.aborted) return;
      options.log.warn({ err: error }, 'could not campaign; trying again');
      await pause(options.clock, options.retryMs, signal);
    }
  }
}

async function campaignOnce(
  options: ElectionOptions,
  lead: (leadership: Leadership) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { store, log, record } = options;
  const lease = await store.lease(options.leaseTtlMs);
  const until = AbortSignal.any([signal, lease.lost]);
  try {
    const createRevision = await win(store, lease, record, until);
    if (createRevision === undefined) return;
    log.info({ controller: record.controller }, 'leading');
    await leadWhileKeyStands(store, createRevision, until, lead);
    log.info({ controller: record.controller, stopped: signal.aborted }, 'leading no more');
  } finally {
    await lease.release().catch((error: unknown) => {
      // The lease then ends by itself after its time to live; nothing is left to do here.
      log.warn({ err: TriremeError.from(error) }, 'could not release the lease of the leader key');
    });
  }
}

/** The create revision of the key once it is ours; undefined when `until` aborted first. */
async function win(store: Store, lease: Lease, record: LeaderRecord, until: AbortSignal): Promise<number | undefined> {
  const value = LeaderRecord.encode(record).finish();
  while (!until.aborted) {
    const outcome = await store.transact({
      guards: [{ key: leaderKey, createRevision: 0 }],
      writes: [{ put: leaderKey, value, lease }],
    });
    if (outcome.applied) return outcome.revision;
    await leaderKeyMoves(store, until, undefined);
  }
  return undefined;
}

async function leadWhileKeyStands(
  store: Store,
  createRevision: number,
  until: AbortSignal,
  lead: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  const over = new AbortController();
  const lost = AbortSignal.any([until, over.signal]);
  const watching = leaderKeyMoves(store, lost, createRevision).then(() => over.abort());
  try {
    await lead({ guard: { key: leaderKey, createRevision }, lost });
  } finally {
    over.abort();
    await watching;
  }
}

/** Resolves when the key is absent, when it is not the `own` one (if given), or when `until` aborts. */
async function leaderKeyMoves(store: Store, until: AbortSignal, own: number | undefined): Promise<void> {
  if (until.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const see = (createRevision: number | undefined): void => {
    if (createRevision === undefined || (own !== undefined && createRevision !== own)) resolve();
  };
  const watch = store.watch(leaderKey, (event) => {
    if (event.kind === 'delete') see(undefined);
    else see(event.kind === 'put' ? event.entry.createRevision : event.entries[0]?.createRevision);
  });
  const onAbort = (): void => resolve();
  until.addEventListener('abort', onAbort, { once: true });
  await promise;
  until.removeEventListener('abort', onAbort);
  await watch.close();
}

/** Sleeps, and simply returns when the signal aborts. */
export async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(delayMs, signal).catch((reason: unknown) => {
    if (!signal.aborted) throw reason;
  });
}
