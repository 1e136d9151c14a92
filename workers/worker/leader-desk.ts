/**
 * Rank 0's counter to the routers: sessions in, commands to the engine; reports out, one frame per step and router.
 * Lives as long as the group is held at its epoch; once closed it publishes nothing, so an old epoch never does.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { EngineStatus } from '#proto/control.ts';
import type { EngineCommand, EngineReport, EngineReportEntry } from '#proto/rank.ts';
import type { AttachRequest, FrameEntry } from '#proto/worker.ts';
import type { AdapterShelf } from './adapter-shelf.ts';
import { CommandOutbox } from './command-outbox.ts';
import { statusIntervalMs, type WorkerLimits } from './limits.ts';
import { type DeskContext, type FrameLink, RouterDesk, type SessionLink } from './router-desk.ts';

/** What one step brought. */
export interface StepFigures {
  /** That got a token or ended. */
  readonly sequences: number;
  /** That went to routers; those of cancelled attempts do not. */
  readonly tokens: number;
}

export interface LeaderDeskOptions {
  readonly group: string;
  readonly epoch: number;
  readonly workerIncarnation: string;
  readonly limits: WorkerLimits;
  readonly clock: Clock;
  /** Puts a command into the engine's ring; false when that is full. */
  send(command: EngineCommand): boolean;
  /** Absent: the group takes no adapters. */
  readonly adapters?: AdapterShelf | undefined;
  publish(routerIncarnation: string, frame: Uint8Array): void;
  /** No frame reaches the bus at present. */
  isBusLost(): boolean;
  onStep(figures: StepFigures): void;
}

export class LeaderDesk {
  #status: EngineStatus = EngineStatus.fromPartial({});
  #step = 0;
  #nextOwner = 1;
  #draining = false;
  #closed = false;
  #idle = Promise.withResolvers<void>();
  /** By incarnation; those without a session oldest first. */
  readonly #routers = new Map<string, RouterDesk>();
  readonly #byOwner = new Map<number, RouterDesk>();
  readonly #outbox: CommandOutbox;
  readonly #context: DeskContext;
  readonly #options: LeaderDeskOptions;
  readonly #stopTicking: () => void;

  constructor(options: LeaderDeskOptions) {
    this.#options = options;
    this.#outbox = new CommandOutbox(options.send);
    this.#context = {
      group: options.group,
      epoch: options.epoch,
      workerIncarnation: options.workerIncarnation,
      limits: options.limits,
      outbox: this.#outbox,
      adapters: options.adapters,
      publish: options.publish,
      isDraining: () => this.#draining,
      isBusLost: options.isBusLost,
      engineStatus: () => this.#status,
    };
    this.#stopTicking = options.clock.every(statusIntervalMs, () => this.#tick());
  }

  get status(): EngineStatus {
    return this.#status;
  }

  /** Names of the adapters in memory. */
  get adapters(): readonly string[] {
    return this.#options.adapters?.names ?? [];
  }

  get runningCount(): number {
    return this.#sum((router) => router.runningCount);
  }

  get unacknowledgedCount(): number {
    return this.#sum((router) => router.unacknowledgedCount);
  }

  get sessionCount(): number {
    return this.#sum((router) => (router.hasSession ? 1 : 0));
  }

  /** Welcomes a router. Errors: NO_ROOM with as many sessions as there may be. */
  open(routerIncarnation: string, link: SessionLink): RouterDesk {
    const { sessionsMax } = this.#options.limits;
    const known = this.#routers.get(routerIncarnation);
    if (!known?.hasSession && this.sessionCount >= sessionsMax) {
      throw new TriremeError('NO_ROOM', `${sessionsMax} routers have a session with this leader`);
    }
    const router = known ?? new RouterDesk(routerIncarnation, this.#nextOwner++, this.#context);
    this.#routers.delete(routerIncarnation);
    this.#routers.set(routerIncarnation, router);
    this.#byOwner.set(router.owner, router);
    router.openSession(link);
    this.#forgetPastRouters();
    return router;
  }

  /** Frames for this router over gRPC too. Errors: STALE_EPOCH for a router that never said Hello here. */
  attach(link: FrameLink, { routerIncarnation, attempts }: AttachRequest): RouterDesk {
    const router = this.#routers.get(routerIncarnation);
    if (!router) throw new TriremeError('STALE_EPOCH', `router ${routerIncarnation} has no session here`);
    router.attach(link, attempts, this.#step);
    return router;
  }

  /** The bus came or went: routers want to know at once. */
  onBus(): void {
    for (const router of this.#routers.values()) router.sendStatus();
  }

  onReport({ step, entries, answers, status }: EngineReport): void {
    if (this.#closed) return;
    const isNewStep = step !== this.#step;
    this.#step = step;
    if (status) this.#status = status;
    this.#outbox.flush();
    for (const answer of answers) this.#byOwner.get(answer.owner)?.onAnswer(answer);
    let tokens = 0;
    for (const [owner, own] of byOwner(entries)) tokens += this.#byOwner.get(owner)?.onEntries(step, own) ?? 0;
    if (isNewStep) this.#options.onStep({ sequences: entries.length, tokens });
    this.#checkIdle();
  }

  /** Refuses submits from now on; resolves when no attempt runs, and routers have acknowledged what ended. Idempotent. */
  drain(): Promise<void> {
    this.#draining = true;
    this.#checkIdle();
    return this.#idle.promise;
  }

  /** Ends every attempt and every session with this error, and publishes no more. Idempotent. */
  close(error: TriremeError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopTicking();
    for (const router of this.#routers.values()) router.fail(this.#step, error);
    this.#idle.resolve();
  }

  #tick(): void {
    this.#outbox.flush();
    for (const router of this.#routers.values()) router.tick();
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#draining && this.runningCount === 0 && this.unacknowledgedCount === 0) this.#idle.resolve();
  }

  #forgetPastRouters(): void {
    let excess = this.#routers.size - this.sessionCount - this.#options.limits.pastRoutersMax;
    for (const router of this.#routers.values()) {
      if (excess <= 0) return;
      if (router.hasSession) continue;
      this.#routers.delete(router.incarnation);
      this.#byOwner.delete(router.owner);
      excess--;
    }
  }

  #sum(count: (router: RouterDesk) => number): number {
    let sum = 0;
    for (const router of this.#routers.values()) sum += count(router);
    return sum;
  }
}

function byOwner(entries: readonly EngineReportEntry[]): Map<number, FrameEntry[]> {
  const grouped = new Map<number, FrameEntry[]>();
  for (const { owner, entry } of entries) {
    if (!entry) continue;
    const own = grouped.get(owner);
    if (own) own.push(entry);
    else grouped.set(owner, [entry]);
  }
  return grouped;
}
