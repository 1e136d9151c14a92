/**
 * Does the steps of a plan. A step that no longer fits what is stored is refused by the store and changes nothing, so
 * that doing one twice is harmless. Formations and endings run on beside the loop, each group's by itself.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import { type GroupRecord, groupStateToJSON } from '#proto/records.ts';
import type { ClusterView } from './cluster-view.ts';
import { pause } from './election.ts';
import { runFormation } from './formation.ts';
import type { FormationRetries } from './formation-retries.ts';
import {
  becomeDead,
  becomeDrained,
  becomeDraining,
  becomeReady,
  becomeWarming,
  formationId,
  isAtOrPast,
} from './group.ts';
import type { GroupWriter } from './group-writer.ts';
import type { ControllerLimits } from './limits.ts';
import type { FailStep, Step } from './plan.ts';
import type { WorkerPort } from './worker-port.ts';

export interface ExecutorOptions {
  readonly view: ClusterView;
  readonly groups: GroupWriter;
  readonly workers: WorkerPort;
  readonly retries: FormationRetries;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  readonly limits: ControllerLimits;
  /** Aborts when this controller no longer leads: then nothing more is written, and no team is ended. */
  readonly lost: AbortSignal;
  /** Something ended beside the loop that may call for a step. */
  onChange(): void;
}

/** A formation that is being carried out. */
class Undertaking {
  readonly #abort = new AbortController();
  /** Why it is given up, if the plan said so. */
  verdict: FailStep | undefined;

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  giveUp(verdict: FailStep): void {
    this.verdict ??= verdict;
    this.#abort.abort(new TriremeError('CANCELLED', verdict.failure));
  }
}

export class Executor {
  /** By formationId. */
  readonly forming = new Map<string, Undertaking>();
  /** Dead formations whose workers are being told to end them, by group. */
  readonly ending = new Map<string, GroupRecord>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #options: ExecutorOptions;

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /** Resolves when the step is written; what it sets off runs on. Errors: STORE_UNAVAILABLE. */
  async execute(step: Step): Promise<void> {
    const { groups, retries } = this.#options;
    switch (step.kind) {
      case 'form':
        return this.#form(step.record, step.previous);
      case 'fail':
        return this.#fail(step);
      case 'drain':
        await this.#write(becomeDraining(step.record, step.limitMs), step.record);
        return;
      case 'end':
        if (await this.#write(becomeDrained(step.record), step.record)) this.#spawn(this.#end(step.record));
        return;
      case 'forget':
        if (await groups.delete(step.record)) retries.forget(step.record.group);
        return;
      case 'wait':
        await this.#write(step.record, step.previous);
        return;
    }
  }

  /** Resolves when nothing runs beside the loop any more. To be called after `lost`. */
  async settled(): Promise<void> {
    await Promise.all(this.#tasks);
  }

  async #form(record: GroupRecord, previous: GroupRecord | undefined): Promise<void> {
    if (!(await this.#options.groups.putFormation(record, previous))) return;
    this.#options.log.info({ group: record.group, epoch: record.epoch, ranks: record.ranks }, 'forming');
    const undertaking = new Undertaking();
    this.forming.set(formationId(record), undertaking);
    this.#spawn(this.#carryOut(record, undertaking));
  }

  async #fail(step: FailStep): Promise<void> {
    const undertaking = this.forming.get(formationId(step.record));
    if (undertaking) return undertaking.giveUp(step);
    if (!(await this.#write(becomeDead(step.record, step.failure), step.record))) return;
    if (step.backOff) this.#options.retries.onFailure(step.record.group, this.#options.clock.now());
    this.#spawn(this.#end(step.record));
  }

  async #carryOut(record: GroupRecord, undertaking: Undertaking): Promise<void> {
    const { workers, clock, random, limits, retries, lost } = this.#options;
    const signal = AbortSignal.any([lost, undertaking.signal]);
    try {
      await runFormation(
        {
          workers,
          clock,
          record,
          secret: random.bytes(secretBytes),
          stallMs: limits.stallMs,
          onLoaded: () => this.#advance(record, becomeWarming, signal),
          onWarm: () => this.#advance(record, becomeReady, signal),
        },
        signal,
      );
      retries.onReady(record.group, clock.now());
    } catch (error) {
      if (lost.aborted) return;
      if (!(error instanceof TriremeError)) throw error;
      await this.#giveUp(record, error, undertaking.verdict);
    } finally {
      this.forming.delete(formationId(record));
    }
  }

  /** The workers first, then the record: its places are free only when they are empty. Nobody was served here yet. */
  async #giveUp(record: GroupRecord, error: TriremeError, verdict: FailStep | undefined): Promise<void> {
    const { retries, clock, lost } = this.#options;
    await this.#disband(record);
    if (verdict?.backOff ?? true) retries.onFailure(record.group, clock.now());
    const failure = verdict?.failure ?? error.toLine();
    await this.#advance(record, (current) => becomeDead(current, failure), lost).catch((reason: unknown) => {
      // Leadership was lost, or another hand moved the group on: whoever leads sees to it.
      if (!lost.aborted && !(reason instanceof TriremeError)) throw reason;
    });
  }

  /** The record first, so that routers stop at once, then the workers. */
  async #end(record: GroupRecord): Promise<void> {
    this.ending.set(record.group, record);
    await this.#disband(record);
    this.ending.delete(record.group);
  }

  async #disband(record: GroupRecord): Promise<void> {
    const { workers, limits, log, lost: signal } = this.#options;
    const options = { timeoutMs: limits.disbandTimeoutMs, signal };
    const { group, epoch } = record;
    const addresses = new Set(record.ranks.map(({ address }) => address));
    const disbanding = [...addresses].map(async (address) => {
      await workers.disband(address, { group, epoch }, options).catch((error: unknown) => {
        // A worker that is gone holds nothing; one that is cut off is told again when it answers the prober.
        log.debug({ group, epoch, address, err: TriremeError.from(error) }, 'could not end a team');
      });
    });
    await Promise.all(disbanding);
  }

  /**
   * Takes the edge from what is stored of the formation now, however long the store is away. Errors: the signal's reason;
   * STALE_EPOCH when the record is no longer this formation's.
   */
  async #advance(
    formation: GroupRecord,
    edge: (current: GroupRecord) => GroupRecord,
    signal: AbortSignal,
  ): Promise<void> {
    const { view, clock, limits, log } = this.#options;
    let target: GroupRecord | undefined;
    while (true) {
      signal.throwIfAborted();
      const current = view.groups.get(formation.group);
      if (current?.epoch !== formation.epoch)
        throw new TriremeError('STALE_EPOCH', `${formationId(formation)} is over`);
      // A write whose answer was lost may have been applied, and the group may have gone on from there: to a drain, for one.
      if (target && isAtOrPast(current, target)) return;
      target = edge(current);
      const written = await this.#write(target, current).catch((error: unknown) => {
        log.warn({ group: target?.group, err: TriremeError.from(error) }, 'could not write a group; trying again');
        return false;
      });
      if (written) return;
      await pause(clock, limits.retryMs, signal);
    }
  }

  async #write(record: GroupRecord, previous: GroupRecord | undefined): Promise<boolean> {
    const written = await this.#options.groups.put(record, previous);
    const { group, epoch, failure } = record;
    this.#options.log.info({ group, epoch, state: groupStateToJSON(record.state), failure, written }, 'group');
    return written;
  }

  #spawn(work: Promise<void>): void {
    const task = work.finally(() => {
      this.#tasks.delete(task);
      this.#options.onChange();
    });
    this.#tasks.add(task);
  }
}

const secretBytes = 32;
