/**
 * What the workers themselves say, folded from the answers to Describe: who is gone or silent, which formation is lost,
 * which is to drain, which drain is over, what is held that nobody placed. Pure: asks nobody and reads no clock.
 */
import type { DescribeResponse, HeldGroup } from '#proto/control.ts';
import { type GroupRecord, GroupState } from '#proto/records.ts';
import type { ClusterView } from './cluster-view.ts';
import { formationId, isAlive, isServing } from './group.ts';

export interface ProbeTarget {
  readonly worker: string;
  readonly address: string;
  readonly incarnation: string;
  /** Formations that it must hold ready, as of the time of asking: what became Ready later is not judged by this answer. */
  readonly expected: readonly GroupRecord[];
}

export interface HealthLimits {
  /** So many probes in a row whose connection fails make a worker gone, whatever its lease says. */
  readonly unreachableMax: number;
  /** So many probes in a row without an answer in time make a worker silent; it is given up when its lease is gone too. */
  readonly unansweredMax: number;
  /** A drain lasts at least so long, so that every router has seen it. */
  readonly drainMsMin: number;
  /** A drain ends after so long even when requests still run. */
  readonly drainMsMax: number;
}

/** A team on a worker that the placement does not know (any more). */
export interface StrayTeam {
  readonly group: string;
  readonly epoch: number;
}

export class FleetHealth {
  /** Incarnations that have ended: nothing listens where they did, or another one answers there. */
  readonly gone = new Set<string>();
  /** Incarnations that do not answer in time: stopped, cut off, or only slow. */
  readonly silent = new Set<string>();
  /** Formations of which a worker said that it does not hold them, with the reason. By formationId. */
  readonly lost = new Map<string, string>();
  /** Formations of which their leader said that they are to drain, with the time it may take in ms. By formationId. */
  readonly drainWishes = new Map<string, number>();
  /** Draining formations that may end. By formationId. */
  readonly drained = new Set<string>();
  readonly #unreachable = new Map<string, number>();
  readonly #unanswered = new Map<string, number>();
  readonly #drainingSinceMs = new Map<string, number>();
  readonly #limits: HealthLimits;

  constructor(limits: HealthLimits) {
    this.#limits = limits;
  }

  /** Moves when something is found or taken back. */
  get findingCount(): number {
    return this.gone.size + this.silent.size + this.lost.size + this.drainWishes.size + this.drained.size;
  }

  /** Every registered worker, and every worker that the placement names though its lease is gone. One per incarnation. */
  targets(view: ClusterView): ProbeTarget[] {
    const targets = new Map<string, ProbeTarget & { expected: GroupRecord[] }>();
    for (const { id, address, incarnation } of view.workers.values()) {
      targets.set(incarnation, { worker: id, address, incarnation, expected: [] });
    }
    for (const record of view.groups.values()) {
      if (!isAlive(record)) continue;
      for (const { worker, address, incarnation } of record.ranks) {
        const target = targets.get(incarnation) ?? { worker, address, incarnation, expected: [] };
        if (isServing(record) && !target.expected.includes(record)) target.expected.push(record);
        targets.set(incarnation, target);
      }
    }
    return [...targets.values()];
  }

  /** Forgets what concerns neither a registered worker nor a live formation; starts the clock of new drains. */
  observe(view: ClusterView, nowMs: number): void {
    const incarnations = new Set(this.targets(view).map((target) => target.incarnation));
    const alive = new Map([...view.groups.values()].filter(isAlive).map((record) => [formationId(record), record]));
    for (const known of [this.gone, this.silent, this.#unreachable, this.#unanswered]) retain(known, incarnations);
    for (const known of [this.lost, this.drainWishes, this.drained, this.#drainingSinceMs]) retain(known, alive);
    for (const [id, { state, drainMs }] of alive) {
      if (state !== GroupState.GROUP_STATE_DRAINING) continue;
      const sinceMs = this.#drainingSinceMs.get(id) ?? nowMs;
      this.#drainingSinceMs.set(id, sinceMs);
      if (nowMs - sinceMs >= (drainMs ?? this.#limits.drainMsMax)) this.drained.add(id);
    }
  }

  /** The result: teams that the worker should end. */
  onAnswer(target: ProbeTarget, answer: DescribeResponse, view: ClusterView, nowMs: number): StrayTeam[] {
    if (answer.worker?.incarnation !== target.incarnation) {
      this.gone.add(target.incarnation);
      return [];
    }
    for (const known of [this.gone, this.silent, this.#unreachable, this.#unanswered]) known.delete(target.incarnation);
    for (const record of target.expected) {
      const held = answer.groups.find(({ group, epoch }) => group === record.group && epoch === record.epoch);
      if (!held?.ready) this.lost.set(formationId(record), `the team on worker ${target.worker} ended`);
      else if (held.leader) this.#onLeader(record, held, nowMs);
    }
    return answer.groups.filter((held) => isStray(held, target, view)).map(({ group, epoch }) => ({ group, epoch }));
  }

  /** The connection was refused or broke: no such process, as a rule. */
  onUnreachable({ incarnation }: ProbeTarget): void {
    if (count(this.#unreachable, incarnation) >= this.#limits.unreachableMax) this.gone.add(incarnation);
  }

  /** The worker may be stopped, cut off, or busy. */
  onUnanswered({ incarnation }: ProbeTarget): void {
    this.#unreachable.delete(incarnation);
    if (count(this.#unanswered, incarnation) >= this.#limits.unansweredMax) this.silent.add(incarnation);
  }

  #onLeader(record: GroupRecord, held: HeldGroup, nowMs: number): void {
    if (held.drainMs !== undefined) this.drainWishes.set(formationId(record), held.drainMs);
    this.#judgeDrain(record, held, nowMs);
  }

  #judgeDrain(record: GroupRecord, { status }: HeldGroup, nowMs: number): void {
    const sinceMs = this.#drainingSinceMs.get(formationId(record));
    if (sinceMs === undefined || nowMs - sinceMs < this.#limits.drainMsMin) return;
    if (status && status.running === 0 && status.waiting === 0) this.drained.add(formationId(record));
  }
}

function isStray(held: HeldGroup, target: ProbeTarget, view: ClusterView): boolean {
  // An epoch is in the store before a worker hears of it, so a higher one means that this view is behind, not the worker.
  if (held.epoch > view.epochOf(held.group)) return false;
  const record = view.groups.get(held.group);
  if (!record || held.epoch < record.epoch || !isAlive(record)) return true;
  return !record.ranks.some(({ incarnation }) => incarnation === target.incarnation);
}

function count(counts: Map<string, number>, key: string): number {
  const next = (counts.get(key) ?? 0) + 1;
  counts.set(key, next);
  return next;
}

function retain(known: Set<string> | Map<string, unknown>, current: { has(key: string): boolean }): void {
  for (const key of [...known.keys()]) if (!current.has(key)) known.delete(key);
}
