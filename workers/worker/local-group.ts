/**
 * This worker's part of one formation of a group: the team of its ranks and, on the leader, the desk for the routers.
 *
 *   Forming -> Ready -> Ending -> Ended        Forming -> Ended
 *
 * Forming: the package is checked, the ranks load, join and warm up. Left when warm, by end(), or by failure.
 * Ready: serves. Left by end(), or when the team exits.
 * Ending: takes no work; its threads have not all ended. Left when they have.
 * Ended: holds nothing. Not left: a formation happens once.
 */
import { assert } from '#platform/assert.ts';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { type FormProgress, FormStage, type HeldGroup } from '#proto/control.ts';
import type { Team } from '../rank/team-port.ts';
import type { AdapterOrder } from './adapter-loader.ts';
import { AdapterShelf } from './adapter-shelf.ts';
import { type GroupFiles, groupFiles } from './group-files.ts';
import { LeaderDesk, type StepFigures } from './leader-desk.ts';
import type { WorkerLimits } from './limits.ts';
import type { TeamFormation, TeamHost } from './team-port.ts';

type State =
  | { readonly kind: 'forming'; readonly abort: AbortController }
  | { readonly kind: 'ready'; readonly team: Team; readonly desk: LeaderDesk | undefined }
  | { readonly kind: 'ending' }
  | { readonly kind: 'ended' };

export interface GroupContext {
  readonly workerIncarnation: string;
  readonly teams: TeamHost;
  readonly limits: WorkerLimits;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: those on disk. */
  readonly files?: GroupFiles;
  publish(routerIncarnation: string, frame: Uint8Array): void;
  isBusLost(): boolean;
  /** After every step of an engine here. */
  onStep(figures: StepFigures): void;
}

export class LocalGroup {
  readonly formation: TeamFormation;
  readonly #packageDigest: string;
  readonly #context: GroupContext;
  readonly #files: GroupFiles;
  readonly #ended = Promise.withResolvers<void>();
  #drainMs: number | undefined;
  #state: State = { kind: 'forming', abort: new AbortController() };

  constructor(formation: TeamFormation, packageDigest: string, context: GroupContext) {
    this.formation = formation;
    this.#packageDigest = packageDigest;
    this.#context = context;
    this.#files = context.files ?? groupFiles;
  }

  get isLeader(): boolean {
    return this.formation.localRanks[0] === 0;
  }

  get isForming(): boolean {
    return this.#state.kind === 'forming';
  }

  get isOver(): boolean {
    return this.#state.kind === 'ended';
  }

  /** The routers' desk while a leader is ready. */
  get desk(): LeaderDesk | undefined {
    return this.#state.kind === 'ready' ? this.#state.desk : undefined;
  }

  /**
   * Called once. Resolves when warm, after progress VERIFYING, LOADING, JOINING and WARM. When it rejects nothing is held any
   * more. Errors: NOT_A_PACKAGE, DIGEST_MISMATCH, those of TeamHost.start(), the signal's reason.
   */
  async form(onProgress: (progress: FormProgress) => void, signal: AbortSignal): Promise<void> {
    assert(this.#state.kind === 'forming', 'a formation happens once');
    const until = AbortSignal.any([signal, this.#state.abort.signal]);
    const parts: { team?: Team; desk?: LeaderDesk } = {};
    try {
      until.throwIfAborted();
      onProgress({ stage: FormStage.FORM_STAGE_VERIFYING, done: 0, total: 0 });
      await this.#files.checkPackage(this.formation.packagePath, this.#packageDigest);
      until.throwIfAborted();
      // The desk comes first, for the engine may report its load before start() has returned here.
      if (this.isLeader) parts.desk = this.#createDesk((command) => parts.team?.send(command) ?? false);
      const onReport: LeaderDesk['onReport'] = (report) => parts.desk?.onReport(report);
      const onExit = (error: TriremeError): void => this.#onExit(error);
      parts.team = await this.#context.teams.start(this.formation, { onProgress, onReport, onExit }, until);
      until.throwIfAborted();
    } catch (error) {
      parts.desk?.close(TriremeError.from(error));
      await parts.team?.stop();
      this.#becomeEnded('forming');
      throw error;
    }
    this.#becomeReady(parts.team, parts.desk);
    onProgress({ stage: FormStage.FORM_STAGE_WARM, done: 1, total: 1 });
  }

  /** Ends what is held, for this reason, and resolves when it has ended. Idempotent: the first reason counts. */
  async end(reason: TriremeError): Promise<void> {
    if (this.#state.kind === 'forming') this.#state.abort.abort(reason);
    else if (this.#state.kind === 'ready') this.#becomeEnding(this.#state, reason);
    await this.#ended.promise;
  }

  /** On the leader: takes no more requests, and says that it is to drain within so long. */
  drain(limitMs: number): void {
    this.#drainMs = limitMs;
    void this.desk?.drain();
  }

  /** Resolves when it has ended or, on a leader that drains, when no request runs. */
  async quiet(): Promise<void> {
    await Promise.race([this.#ended.promise, this.desk?.drain() ?? this.#ended.promise]);
  }

  /** Fills a place of the local ranks. Errors: STALE_EPOCH unless ready; those of fillPlace(). */
  async loadAdapter(order: AdapterOrder): Promise<void> {
    const { group, epoch } = this.formation;
    if (this.#state.kind !== 'ready') {
      throw new TriremeError('STALE_EPOCH', `group ${group} is not ready at epoch ${epoch} here`);
    }
    await this.#files.fillPlace(this.formation, this.#state.team, order);
    this.#context.log.info({ group, epoch, adapter: order.name, place: order.place }, 'an adapter is in memory');
  }

  describe(): HeldGroup {
    const { group, epoch, localRanks } = this.formation;
    const ready = this.#state.kind === 'ready';
    const adapters = [...(this.desk?.adapters ?? [])];
    const held = { group, epoch, ranks: [...localRanks], leader: this.isLeader, ready, adapters };
    return { ...held, status: this.desk?.status, drainMs: this.desk && this.#drainMs };
  }

  #createDesk(send: Team['send']): LeaderDesk {
    const { group, epoch } = this.formation;
    const { workerIncarnation, limits, clock, publish, isBusLost, onStep } = this.#context;
    const { adapters: settings } = this.formation.serving;
    const adapters = settings && new AdapterShelf(settings.places, (place, name) => this.#shelve(place, name));
    const shared = { group, epoch, workerIncarnation, limits, clock, adapters };
    return new LeaderDesk({ ...shared, send, publish, isBusLost, onStep });
  }

  /** On all ranks of the group. */
  async #shelve(place: number, name: string): Promise<void> {
    const order = { place, name, digest: await this.#files.adapterDigest(this.formation, name) };
    await Promise.all([this.loadAdapter(order), this.#files.fillElsewhere(this.formation, order)]);
  }

  #onExit(error: TriremeError): void {
    const { group, epoch } = this.formation;
    this.#context.log.error({ group, epoch, code: error.code, reason: error.message }, 'the team exited');
    void this.end(new TriremeError('RANK_FAILED', error.message, { cause: error }));
  }

  #becomeReady(team: Team, desk: LeaderDesk | undefined): void {
    assert(this.#state.kind === 'forming', `${this.#state.kind} cannot become ready`);
    this.#state = { kind: 'ready', team, desk };
  }

  #becomeEnding({ team, desk }: Extract<State, { kind: 'ready' }>, reason: TriremeError): void {
    this.#state = { kind: 'ending' };
    desk?.close(reason);
    team.stop().then(
      () => this.#becomeEnded('ending'),
      (error) => this.#ended.reject(error),
    );
  }

  #becomeEnded(from: State['kind']): void {
    assert(this.#state.kind === from, `${this.#state.kind} cannot become ended as if it were ${from}`);
    this.#state = { kind: 'ended' };
    this.#ended.resolve();
  }
}
