/** What an operator wants out of service: told to the worker that holds it, which tells the controller. */
import { TriremeError } from '#platform/errors.ts';
import type { DrainRequest } from '#proto/control.ts';
import type { DrainStarted, DrainTarget } from '#proto/operations.ts';
import { type GroupRecord, GroupState, type WorkerRecord } from '#proto/records.ts';

export interface DrainContext {
  readonly fleet: { group(name: string): GroupRecord | undefined; readonly workers: readonly WorkerRecord[] };
  readonly defaultLimitMs: number;
  /** Errors: UNAVAILABLE, DEADLINE_EXCEEDED, STALE_EPOCH. */
  tellWorker(address: string, request: DrainRequest): Promise<void>;
  /** undefined: it takes requests again. */
  drainRouter(limitMs: number | undefined): void;
}

/** Resolves when the drain has begun. Errors: UNKNOWN_TARGET, INVALID_ARGUMENT, UNAVAILABLE, those of tellWorker(). */
export async function drain(
  { target, limitMs: given, undo }: DrainTarget,
  { fleet, defaultLimitMs, tellWorker, drainRouter }: DrainContext,
): Promise<DrainStarted> {
  const limitMs = given ?? defaultLimitMs;
  switch (target?.$case) {
    case 'group': {
      if (undo)
        throw new TriremeError('INVALID_ARGUMENT', 'the drain of a group is not undone: it forms anew by itself');
      const { group, epoch, ranks } = drainable(fleet.group(target.value), target.value);
      await tellWorker(ranks[0]?.address ?? '', { group, epoch, limitMs, undo });
      return { epoch, incarnation: '' };
    }
    case 'worker': {
      const worker = fleet.workers.find(({ id }) => id === target.value);
      if (!worker) throw unknown(`worker ${target.value}`);
      await tellWorker(worker.address, { group: '', epoch: 0, limitMs, undo });
      return { epoch: 0, incarnation: worker.incarnation };
    }
    case 'router':
      drainRouter(undo ? undefined : limitMs);
      return { epoch: 0, incarnation: '' };
    default:
      throw new TriremeError('INVALID_ARGUMENT', 'a drain names a group, a worker or the router');
  }
}

function drainable(record: GroupRecord | undefined, name: string): GroupRecord {
  if (!record) throw unknown(`group ${name}`);
  const { GROUP_STATE_READY, GROUP_STATE_DRAINING } = GroupState;
  if (record.state === GROUP_STATE_READY || record.state === GROUP_STATE_DRAINING) return record;
  throw new TriremeError('UNAVAILABLE', `group ${name} serves nothing that could drain`, {
    remedy: 'see its state with trireme status',
  });
}

function unknown(what: string): TriremeError {
  return new TriremeError('UNKNOWN_TARGET', `there is no ${what}`, { remedy: 'trireme status shows what there is' });
}
