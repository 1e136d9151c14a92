/**
 * The groups of which this worker holds ranks. Fencing is here: of a group at most one formation is held, its epoch only
 * rises, and an epoch that was formed or disbanded once is never formed again.
 */
import { TriremeError } from '#platform/errors.ts';
import type { FormProgress, FormRequest, HeldGroup, LoadAdapterRequest } from '#proto/control.ts';
import { type GroupRecord, GroupState } from '#proto/records.ts';
import type { LeaderDesk } from './leader-desk.ts';
import { type GroupContext, LocalGroup } from './local-group.ts';

export interface HeldGroupsOptions extends GroupContext {
  readonly workerId: string;
  readonly rankCapacity: number;
}

/** Of all groups that are led here together. */
export interface WorkerLoad {
  /** Sequences in batches, and sequences that wait for a place. */
  readonly running: number;
  readonly waiting: number;
  readonly freeBlocks: number;
  /** Routers with a session. */
  readonly sessions: number;
  /** Attempts that ended and are kept until their router has acknowledged it. */
  readonly unacknowledged: number;
}

export class HeldGroups {
  #draining = false;
  /** By group: the latest formation, which may be over. */
  readonly #held = new Map<string, LocalGroup>();
  /** By group: the highest epoch that was formed or disbanded here. Last touched last. */
  readonly #lastEpochs = new Map<string, number>();
  readonly #options: HeldGroupsOptions;

  constructor(options: HeldGroupsOptions) {
    this.#options = options;
  }

  /**
   * Forms this worker's ranks of the group; resolves when warm. Ends an older formation of it first. Errors: INVALID_ARGUMENT,
   * STALE_EPOCH, NO_ROOM, UNAVAILABLE while draining, and those of LocalGroup.form().
   */
  async form(request: FormRequest, onProgress: (progress: FormProgress) => void, signal: AbortSignal): Promise<void> {
    const local = this.#admit(request);
    const { group, epoch } = local.formation;
    const older = this.#held.get(group);
    this.#held.set(group, local);
    this.#remember(group, epoch);
    try {
      await older?.end(new TriremeError('STALE_EPOCH', `group ${group} forms anew at epoch ${epoch}`));
      await local.form(onProgress, signal);
      this.#options.log.info({ group, epoch, ranks: local.formation.localRanks }, 'the group is warm');
    } catch (error) {
      this.#drop(local);
      throw error;
    }
  }

  /** Ends the group's formation of this epoch or an older one; resolves when it has ended. Idempotent. */
  async disband(group: string, epoch: number, reason: TriremeError): Promise<void> {
    if (epoch > (this.#lastEpochs.get(group) ?? 0)) this.#remember(group, epoch);
    const local = this.#held.get(group);
    if (!local || local.formation.epoch > epoch) return;
    await local.end(reason);
    this.#drop(local);
  }

  get load(): WorkerLoad {
    const load = { running: 0, waiting: 0, freeBlocks: 0, sessions: 0, unacknowledged: 0 };
    for (const { desk } of this.#held.values()) {
      if (!desk) continue;
      load.running += desk.status.running;
      load.waiting += desk.status.waiting;
      load.freeBlocks += desk.status.freeBlocks;
      load.sessions += desk.sessionCount;
      load.unacknowledged += desk.unacknowledgedCount;
    }
    return load;
  }

  describe(): HeldGroup[] {
    return [...this.#held.values()].filter((local) => !local.isOver).map((local) => local.describe());
  }

  /** Errors: STALE_EPOCH unless this worker leads the group at this epoch. */
  deskOf(group: string, epoch: number): LeaderDesk {
    const local = this.#held.get(group);
    if (local?.formation.epoch === epoch && local.desk) return local.desk;
    throw new TriremeError('STALE_EPOCH', `this worker does not lead group ${group} at epoch ${epoch}`);
  }

  /** Errors: STALE_EPOCH unless this worker holds ranks of the group at this epoch; those of LocalGroup.loadAdapter(). */
  async loadAdapter({ group, epoch, ...order }: LoadAdapterRequest): Promise<void> {
    const local = this.#held.get(group);
    if (local?.formation.epoch !== epoch) {
      throw new TriremeError('STALE_EPOCH', `this worker does not hold group ${group} at epoch ${epoch}`);
    }
    await local.loadAdapter(order);
  }

  /** The bus came or went. */
  onBus(): void {
    for (const local of this.#held.values()) local.desk?.onBus();
  }

  /** What the placement says now. A formation that it has left behind ends, even if nobody comes to disband it. */
  onPlacement({ group, epoch, state }: GroupRecord): void {
    const held = this.#held.get(group)?.formation;
    if (!held) return;
    const over = epoch > held.epoch || (epoch === held.epoch && state === GroupState.GROUP_STATE_DEAD);
    if (!over) return;
    const reason = new TriremeError('STALE_EPOCH', `the placement has group ${group} at epoch ${epoch}`);
    void this.disband(group, held.epoch, reason);
  }

  /** Takes no group and, for those led here, no request from now on, until undrain(). What is still forming ends. */
  drain(limitMs: number): void {
    this.#draining = true;
    const reason = new TriremeError('UNAVAILABLE', `worker ${this.#options.workerId} is draining`);
    for (const local of this.#held.values()) {
      if (local.isForming) void local.end(reason);
      else local.drain(limitMs);
    }
  }

  /** Takes groups again. Those that drain go on draining. */
  undrain(): void {
    this.#draining = false;
  }

  /** Takes no more requests for this group. Errors: STALE_EPOCH unless this worker leads it at this epoch. */
  drainGroup(group: string, epoch: number, limitMs: number): void {
    this.deskOf(group, epoch);
    this.#held.get(group)?.drain(limitMs);
  }

  /** To be called while it drains: resolves when no request runs here, and no group is held that is led elsewhere. */
  async quiet(): Promise<void> {
    await Promise.all([...this.#held.values()].map((local) => local.quiet()));
  }

  /** Ends every group. */
  async stop(reason: TriremeError): Promise<void> {
    this.#draining = true;
    await Promise.all([...this.#held.values()].map((local) => local.end(reason)));
    this.#held.clear();
  }

  #admit({ group: record, secret }: FormRequest): LocalGroup {
    const { workerId, workerIncarnation, rankCapacity } = this.#options;
    if (this.#draining) throw new TriremeError('UNAVAILABLE', `worker ${workerId} is draining`);
    if (!record?.group || !record.serving) {
      throw new TriremeError('INVALID_ARGUMENT', 'a formation needs a group record with a name and settings');
    }
    const { group, epoch, packagePath, serving, ranks } = record;
    const last = Math.max(this.#lastEpochs.get(group) ?? 0, this.#held.get(group)?.formation.epoch ?? 0);
    if (epoch <= last) throw new TriremeError('STALE_EPOCH', `group ${group} was at epoch ${last} here, not ${epoch}`);
    const mine = ranks.filter(({ worker }) => worker === workerId);
    if (mine.length === 0) throw new TriremeError('INVALID_ARGUMENT', `no rank of ${group} is on worker ${workerId}`);
    if (mine.some(({ incarnation }) => incarnation !== workerIncarnation)) {
      throw new TriremeError('STALE_EPOCH', `worker ${workerId} has restarted since group ${group} was placed on it`);
    }
    const others = [...this.#held.values()].filter((local) => local.formation.group !== group && !local.isOver);
    const taken = others.reduce((sum, local) => sum + local.formation.localRanks.length, 0);
    if (taken + mine.length > rankCapacity) {
      throw new TriremeError('NO_ROOM', `worker ${workerId} has ${rankCapacity - taken} of ${rankCapacity} ranks free`);
    }
    const localRanks = mine.map(({ rank }) => rank).sort((a, b) => a - b);
    const formation = { group, epoch, packagePath, serving, ranks, localRanks, secret };
    return new LocalGroup(formation, record.packageDigest, this.#options);
  }

  #drop(local: LocalGroup): void {
    if (this.#held.get(local.formation.group) === local) this.#held.delete(local.formation.group);
  }

  #remember(group: string, epoch: number): void {
    this.#lastEpochs.delete(group);
    this.#lastEpochs.set(group, epoch);
    for (const oldest of this.#lastEpochs.keys()) {
      if (this.#lastEpochs.size <= this.#options.limits.pastGroupsMax) return;
      this.#lastEpochs.delete(oldest);
    }
  }
}
