/** What the core knows of a group's leader while a session with it lasts. */
import type { TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { GroupRecord } from '#proto/records.ts';
import type { LeaderStatus } from '#proto/worker.ts';
import type { ActiveRequest, Carrier } from './active-request.ts';
import { Attachment } from './attachment.ts';
import type { OpenedSession, SessionId } from './events.ts';
import { FrameTracker } from './frame-tracker.ts';
import type { GroupLoad } from './policy.ts';
import { type HealthLimits, SessionHealth } from './session-health.ts';

export class LeaderSession implements GroupLoad, Carrier {
  readonly id: SessionId;
  readonly group: string;
  readonly epoch: number;
  readonly model: string;
  readonly streamDigest: string;
  readonly maxSequences: number;
  readonly frames: FrameTracker;
  readonly health: SessionHealth;
  readonly attachment = new Attachment();
  /** Requests whose current attempt is here. */
  readonly requests = new Set<ActiveRequest>();
  /** Why the session is over; frames that were sent before may still come. */
  broken: TriremeError | undefined;
  /** The leader says that it has lost the bus. */
  busLost = false;
  #engine: EngineStatus;
  /** Sequences of submits that the leader has not answered. */
  #unanswered = 0;
  /** Sequences that it accepted since its last status. */
  #unreported = 0;
  /** It has refused for want of room since its last status. */
  #full = false;
  readonly #capacity: number;

  constructor(
    opened: OpenedSession,
    { model, streamDigest, serving }: GroupRecord,
    limits: HealthLimits,
    nowMs: number,
  ) {
    this.id = opened.session;
    this.group = opened.group;
    this.epoch = opened.epoch;
    this.model = model;
    this.streamDigest = streamDigest;
    this.maxSequences = serving?.maxSequences ?? 1;
    this.frames = new FrameTracker(opened.lastFrame);
    this.health = new SessionHealth(limits, opened.engine.step, nowMs);
    this.#engine = opened.engine;
    this.#capacity = this.maxSequences + (serving?.maxWaiting ?? 0);
  }

  /** As of the leader's last status. */
  get engine(): EngineStatus {
    return this.#engine;
  }

  get sequences(): number {
    return this.#engine.running + this.#engine.waiting + this.#unanswered + this.#unreported;
  }

  /** It tries one that its last group may have died of. */
  get hasSuspect(): boolean {
    for (const request of this.requests) if (request.isSuspect) return true;
    return false;
  }

  /** An empty group takes any request, so that its leader can say why it never could. */
  hasRoomFor(n: number): boolean {
    return !this.#full && (this.sequences + n <= this.#capacity || this.sequences === 0);
  }

  onSubmit(n: number): void {
    this.#unanswered += n;
  }

  onAccepted(n: number): void {
    this.#unanswered -= n;
    this.#unreported += n;
  }

  onRefused(n: number, full: boolean): void {
    this.#unanswered -= n;
    this.#full ||= full;
  }

  onStatus({ engine, lastFrame, busLost }: LeaderStatus, nowMs: number): void {
    this.frames.expect(lastFrame, nowMs);
    this.busLost = busLost;
    this.#unreported = 0;
    this.#full = false;
    if (!engine) return;
    this.#engine = engine;
    this.health.onStatus(engine.step, engine.running + engine.waiting > 0, nowMs);
  }
}
