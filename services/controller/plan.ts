/**
 * From what is desired and what is observed to the next steps. Pure: no I/O, no clock, no memory; the same observation
 * gives the same steps. A group gets at most one step at a time, and a healthy cluster gets none.
 */
import { type GroupRecord, GroupState, type ModelRecord, type WorkerRecord } from '#proto/records.ts';
import { generationOf, streamDigestOf } from './digests.ts';
import { becomeForming, type Formation, formationId, isAlive, isForming, remainDead } from './group.ts';
import { freeRanksByWorker, type PlacementOutcome, placeRanks } from './placement.ts';

export interface Observed {
  readonly models: ReadonlyMap<string, ModelRecord>;
  /** By id, those that hold their lease. */
  readonly workers: ReadonlyMap<string, WorkerRecord>;
  readonly groups: ReadonlyMap<string, GroupRecord>;
  /** The highest epoch ever used by the group; 0 for a new one. */
  epochOf(group: string): number;
  /** Incarnations that have ended. */
  readonly gone: ReadonlySet<string>;
  /** Incarnations that do not answer in time. */
  readonly silent: ReadonlySet<string>;
  /** Formations of which a worker said that it does not hold them, with the reason. By formationId. */
  readonly lost: ReadonlyMap<string, string>;
  /** Ready formations that somebody wants drained, with the time it may take in ms. By formationId. */
  readonly drainWishes: ReadonlyMap<string, number>;
  /** Draining formations that may end. By formationId. */
  readonly drained: ReadonlySet<string>;
  /** Formations that this controller is carrying out. By formationId. */
  readonly forming: { has(formation: string): boolean };
  /** Dead formations whose workers are still being told to end them, by group: their places are not free yet. */
  readonly ending: ReadonlyMap<string, GroupRecord>;
  /** No formation of the group starts before this time. */
  readonly retryAtMs: ReadonlyMap<string, number>;
  readonly nowMs: number;
}

export interface FailStep {
  readonly kind: 'fail';
  readonly record: GroupRecord;
  readonly failure: string;
  /** Speaks against the group itself: it forms again after a pause. */
  readonly backOff: boolean;
}

export interface DrainStep {
  readonly kind: 'drain';
  readonly record: GroupRecord;
  /** How long it may take; undefined: as long as every drain. */
  readonly limitMs: number | undefined;
  /** Nobody asked for it: settings are newer. It waits for its turn. */
  readonly isRollout: boolean;
}

export type Step =
  | { readonly kind: 'form'; readonly record: GroupRecord; readonly previous: GroupRecord | undefined }
  | FailStep
  | DrainStep
  | { readonly kind: 'end'; readonly record: GroupRecord }
  | { readonly kind: 'forget'; readonly record: GroupRecord }
  /** Nothing can be formed; the record says why. */
  | { readonly kind: 'wait'; readonly record: GroupRecord; readonly previous: GroupRecord | undefined };

/** Wishes for more are cut off. */
export const groupsPerModelMax = 1024;

export const groupIdOf = (model: string, index: number): string => `${model}-${index}`;

export function plan(observed: Observed): Step[] {
  const wishes = wishesOf(observed.models.values());
  const { formations, noRoom } = planFormations(wishes, observed);
  const changes = sorted(observed.groups.values(), (record) => record.group).flatMap((record) => {
    const step = stepForExisting(record, wishes.get(record.group), observed);
    return step ? [step] : [];
  });
  return [...limitRollout(changes, wishes, noRoom, observed), ...formations];
}

interface Wish {
  readonly group: string;
  readonly model: ModelRecord;
  /** Undefined: the model's record is incomplete; what stands is left alone. */
  readonly generation: string | undefined;
}

function wishesOf(models: Iterable<ModelRecord>): Map<string, Wish> {
  const wishes = new Map<string, Wish>();
  for (const model of sorted(models, (record) => record.name)) {
    const generation = generationOf(model);
    for (let index = 0; index < Math.min(model.groups, groupsPerModelMax); index++) {
      const group = groupIdOf(model.name, index);
      wishes.set(group, { group, model, generation });
    }
  }
  return wishes;
}

function stepForExisting(record: GroupRecord, wish: Wish | undefined, observed: Observed): Step | undefined {
  if (!isAlive(record)) return wish || observed.ending.has(record.group) ? undefined : { kind: 'forget', record };
  const loss = lossOf(record, observed);
  if (loss) return loss;
  const exit = exitOf(record, wish, observed);
  if (exit && isForming(record)) return { kind: 'fail', record, failure: exit.reason, backOff: false };
  if (exit && record.state === GroupState.GROUP_STATE_READY) return { kind: 'drain', record, ...exit };
  if (observed.drained.has(formationId(record))) return { kind: 'end', record };
  return undefined;
}

interface Exit extends Pick<DrainStep, 'limitMs' | 'isRollout'> {
  readonly reason: string;
}

/** Why a formation that does well has to go; undefined while it may stay. */
function exitOf(record: GroupRecord, wish: Wish | undefined, observed: Observed): Exit | undefined {
  const leaving = leavingWorkerOf(record, observed);
  if (leaving) return { limitMs: leaving.drainMs, isRollout: false, reason: `worker ${leaving.id} is draining` };
  const limitMs = observed.drainWishes.get(formationId(record));
  if (limitMs !== undefined) return { limitMs, isRollout: false, reason: 'it was told to drain' };
  if (!wish) return { limitMs, isRollout: false, reason: 'no longer wanted' };
  return isOutdated(record, wish)
    ? { limitMs, isRollout: true, reason: 'the settings changed while it formed' }
    : undefined;
}

/** The worker of it that is to hold nothing; of several the one with least time. */
function leavingWorkerOf({ ranks }: GroupRecord, { workers }: Observed): WorkerRecord | undefined {
  const leaving = ranks.flatMap(({ worker, incarnation }) => {
    const record = workers.get(worker);
    return record?.incarnation === incarnation && isLeaving(record) ? [record] : [];
  });
  return leaving.sort((a, b) => a.drainMs! - b.drainMs!)[0];
}

function isLeaving({ drainMs }: WorkerRecord): boolean {
  return drainMs !== undefined;
}

function isOutdated(record: GroupRecord, wish: Wish): boolean {
  return wish.generation !== undefined && wish.generation !== record.generation;
}

/** Why a formation is over; undefined while nothing is known against it. A lost lease alone is nothing. */
function lossOf(record: GroupRecord, observed: Observed): FailStep | undefined {
  const fail = (failure: string, backOff: boolean): FailStep => ({ kind: 'fail', record, failure, backOff });
  for (const { worker, incarnation } of record.ranks) {
    const registered = observed.workers.get(worker);
    if (registered && registered.incarnation !== incarnation) return fail(`worker ${worker} restarted`, false);
    if (observed.gone.has(incarnation)) return fail(`worker ${worker} is gone`, false);
    if (!registered && observed.silent.has(incarnation)) return fail(`worker ${worker} is silent`, false);
  }
  const id = formationId(record);
  // Who leaves may have let go of it before the drain was over here.
  const isLeft = record.state === GroupState.GROUP_STATE_DRAINING || leavingWorkerOf(record, observed) !== undefined;
  if (isForming(record) && !observed.forming.has(id)) return fail('the controller that formed it is gone', false);
  const lost = observed.lost.get(id);
  return lost === undefined ? undefined : fail(lost, !isLeft);
}

/**
 * Of the groups of one model that have older settings, one drains at a time: while every other is Ready or waits for
 * room, and only when it will have room to form again. Groups that nobody wants, and those that are told to, drain at once.
 */
function limitRollout(
  steps: readonly Step[],
  wishes: ReadonlyMap<string, Wish>,
  noRoom: ReadonlySet<string>,
  observed: Observed,
): Step[] {
  const moving = new Set<string>();
  for (const { group, model } of wishes.values()) {
    const isReady = observed.groups.get(group)?.state === GroupState.GROUP_STATE_READY;
    if (!isReady && !noRoom.has(group)) moving.add(model.name);
  }
  return steps.filter((step) => {
    const wish = wishes.get(step.record.group);
    if (step.kind !== 'drain' || !step.isRollout || !wish) return true;
    const others = [...observed.groups.values()].filter((record) => record !== step.record);
    if (moving.has(wish.model.name) || place(wish.model, others, observed).kind === 'no-room') return false;
    moving.add(wish.model.name);
    return true;
  });
}

interface PlannedFormations {
  readonly formations: readonly Step[];
  /** Groups that cannot form because no worker has room. */
  readonly noRoom: ReadonlySet<string>;
}

function planFormations(wishes: ReadonlyMap<string, Wish>, observed: Observed): PlannedFormations {
  const formations: Step[] = [];
  const noRoom = new Set<string>();
  const groups = new Map(observed.groups);
  for (const wish of wishes.values()) {
    const previous = groups.get(wish.group);
    if ((previous && isAlive(previous)) || observed.ending.has(wish.group)) continue;
    if (observed.nowMs < (observed.retryAtMs.get(wish.group) ?? 0)) continue;
    const outcome = formOrWait(wish, previous, groups, observed);
    if (outcome.kind === 'form') {
      groups.set(wish.group, outcome.record);
      formations.push(outcome);
    } else {
      if (wish.generation) noRoom.add(wish.group);
      if (previous?.failure !== outcome.record.failure) formations.push(outcome);
    }
  }
  return { formations, noRoom };
}

function formOrWait(
  { group, model, generation }: Wish,
  previous: GroupRecord | undefined,
  groups: ReadonlyMap<string, GroupRecord>,
  observed: Observed,
): Extract<Step, { kind: 'form' | 'wait' }> {
  const wait = (reason: string) =>
    ({ kind: 'wait', record: remainDead(previous, group, model.name, reason), previous }) as const;
  if (!generation || !model.serving) return wait(`the record of model ${model.name} lacks ranks, digest or settings`);
  const outcome = place(model, groups.values(), observed);
  if (outcome.kind === 'no-room') {
    const { freeRanks, workers } = outcome;
    return wait(`waits for room: needs ${model.ranks} ranks, ${freeRanks} free on ${workers} workers`);
  }
  const formation: Formation = {
    group,
    model: model.name,
    generation,
    epoch: observed.epochOf(group) + 1,
    streamDigest: streamDigestOf(model.packageDigest),
    ranks: outcome.ranks,
    packagePath: model.packagePath,
    packageDigest: model.packageDigest,
    serving: model.serving,
  };
  return { kind: 'form', record: becomeForming(previous, formation), previous };
}

/** Where a group of the model could go beside the given groups, on workers that hold their lease, answer, and stay. */
function place(model: ModelRecord, groups: Iterable<GroupRecord>, observed: Observed): PlacementOutcome {
  const { gone, silent, ending } = observed;
  const usable = [...observed.workers.values()].filter(
    (worker) => !gone.has(worker.incarnation) && !silent.has(worker.incarnation) && !isLeaving(worker),
  );
  const owners = [...[...groups].filter(isAlive), ...ending.values()];
  return placeRanks(model.ranks, usable, freeRanksByWorker(usable, owners));
}

function sorted<T>(values: Iterable<T>, key: (value: T) => string): T[] {
  return [...values].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}
