/**
 * The router's core: events in, actions out. It decides who runs where, forwards every position once and in order, takes what
 * loses its group to another one, and ends every accepted request exactly once. It does no I/O and reads no clock.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { Frame, LeaderMessage, Refused } from '#proto/worker.ts';
import type { ActiveRequest } from './active-request.ts';
import type { RouterLimits } from './config.ts';
import type { OpenedSession, RouterAction, RouterEvent, RouterStats, SessionId } from './events.ts';
import { errorFromLeader, lostFrames, sendsElsewhere, sessionLost, unanswered } from './failures.ts';
import type { FleetView } from './fleet.ts';
import { LeaderSession } from './leader-session.ts';
import type { Policy } from './policy.ts';
import { readFrame } from './read-frame.ts';
import { RequestBook } from './request-book.ts';

/** How often the shell sends a tick. */
export const tickMs = 100;

export interface RouterOptions {
  readonly incarnation: string;
  readonly limits: RouterLimits;
  readonly fleet: FleetView;
  readonly policy: Policy;
}

export class Router {
  readonly stats: RouterStats = {
    requests: 0,
    failures: new Map(),
    tokens: 0,
    moves: 0,
    resumed: 0,
    attaches: 0,
    frames: 0,
    staleFrames: 0,
    lostFrames: 0,
  };
  #actions: RouterAction[] = [];
  #nowMs = 0;
  #tickedMs: number | undefined;
  #busConnected = true;
  readonly #sessions = new Map<SessionId, LeaderSession>();
  /** The newest session of each group. */
  readonly #byGroup = new Map<string, LeaderSession>();
  readonly #book: RequestBook;
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    const { limits, policy } = options;
    this.#options = options;
    this.#book = new RequestBook({
      ...{ limits, policy, stats: this.stats },
      act: (action) => this.#actions.push(action),
      candidates: (request) => this.#candidates(request),
    });
  }

  /** Requests with an attempt at a group. */
  get activeCount(): number {
    return this.#book.activeCount;
  }

  get queuedCount(): number {
    return this.#book.queuedCount;
  }

  get requestCount(): number {
    return this.#book.size;
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  /** Load of a group's engine as of its leader's last word; undefined without a session. */
  engineOf(group: string): EngineStatus | undefined {
    const session = this.#byGroup.get(group);
    return session?.broken ? undefined : session?.engine;
  }

  /** A request could be sent to a group now, room apart. */
  get isReady(): boolean {
    return [...this.#byGroup.values()].some((session) => this.#isReady(session));
  }

  /** nowMs never goes back. */
  step(event: RouterEvent, nowMs: number): readonly RouterAction[] {
    assert(nowMs >= this.#nowMs, 'time went back');
    this.#nowMs = nowMs;
    this.#actions = [];
    this.#handle(event);
    // Whatever happened, there may be room now; with an empty queue this costs nothing.
    this.#book.dispatch(nowMs);
    if (!this.#busConnected) for (const session of this.#sessions.values()) this.#attachIfNeeded(session);
    return this.#actions;
  }

  #handle(event: RouterEvent): void {
    switch (event.kind) {
      case 'frame':
        return this.#onBusFrame(event.frame);
      case 'attached-frame':
        return this.#onAttachedFrame(event.session, event.frame);
      case 'attach-ended':
        return this.#sessions.get(event.session)?.attachment.becomeClosed();
      case 'bus':
        this.#busConnected = event.connected;
        return;
      case 'request':
        return this.#book.add(event.request, this.#nowMs);
      case 'abandon': {
        const request = this.#book.get(event.requestId);
        if (request) this.#book.fail(request, event.error);
        return;
      }
      case 'session-opened':
        return this.#onSessionOpened(event);
      case 'session-message':
        return this.#onSessionMessage(event.session, event.message);
      case 'session-ended':
        return this.#onSessionEnded(event.session, event.error, event.planned);
      case 'placement':
        return;
      case 'tick':
        return this.#onTick();
    }
  }

  #onSessionOpened(opened: OpenedSession): void {
    const record = this.#options.fleet.group(opened.group);
    if (record?.epoch !== opened.epoch) {
      const error = new TriremeError('STALE_EPOCH', `${opened.group} is no longer at epoch ${opened.epoch}`);
      this.#actions.push({ kind: 'close-session', session: opened.session, error });
      return;
    }
    const earlier = this.#byGroup.get(opened.group);
    if (earlier) this.#replace(earlier);
    const session = new LeaderSession(opened, record, this.#options.limits, this.#nowMs);
    this.#sessions.set(session.id, session);
    this.#byGroup.set(session.group, session);
  }

  #onSessionMessage(id: SessionId, message: LeaderMessage['message']): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken) return;
    session.health.onMessage();
    switch (message?.$case) {
      case 'accepted': {
        const found = this.#book.find(session, message.value);
        found?.request.becomeAccepted(found.attempt);
        return;
      }
      case 'refused':
        return this.#onRefused(session, message.value);
      case 'status':
        session.onStatus(message.value, this.#nowMs);
        if (session.frames.overflowed) this.#close(session, 'it counts frames that nobody sent');
        else if (session.busLost) this.#attachIfNeeded(session);
        return;
      default:
        return this.#close(session, 'it sent a message that does not belong in a session');
    }
  }

  #onRefused(session: LeaderSession, refused: Refused): void {
    const found = this.#book.find(session, refused);
    if (!found || found.attempt.accepted) return;
    const { code, message } = refused;
    this.#book.requeue(found, sendsElsewhere(code));
    if (!sendsElsewhere(code)) this.#book.fail(found.request, errorFromLeader(session.group, code, message));
    else if (code === 'STALE_EPOCH') this.#close(session, message);
  }

  /** The leader's last frames may come after the session's end; only when none is missing are its requests to move. */
  #onSessionEnded(id: SessionId, error: TriremeError, planned: boolean): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken) return;
    session.broken = error;
    session.attachment.becomeClosed();
    if (planned) this.#moveAway(session, error);
    if (session.frames.missingCount === 0) this.#drop(session, error);
  }

  #onBusFrame(frame: Frame): void {
    this.stats.frames++;
    const session = this.#byGroup.get(frame.group);
    if (!session || !this.#isOf(session, frame)) {
      this.stats.staleFrames++;
      return;
    }
    const { attachment, frames } = session;
    if (attachment.isOpen) attachment.onBusFrame(frame.sequence, frames.next);
    if (frames.take(frame.sequence, this.#nowMs)) this.#takeFrame(session, frame);
    else if (!attachment.isOpen) this.stats.staleFrames++;
  }

  #onAttachedFrame(id: SessionId, frame: Frame): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken || !this.#isOf(session, frame)) return;
    const { frames } = session;
    if (frame.sequence > 0 && !frames.take(frame.sequence, this.#nowMs)) return;
    if (frame.covers > 0) frames.cover(frame.covers);
    this.#takeFrame(session, frame);
  }

  #isOf(session: LeaderSession, { group, epoch, routerIncarnation }: Frame): boolean {
    return session.group === group && session.epoch === epoch && routerIncarnation === this.#options.incarnation;
  }

  #takeFrame(session: LeaderSession, frame: Frame): void {
    if (session.frames.overflowed) return this.#close(session, 'it counts frames that nobody sent');
    const { touched, stopped, failed, groupFailure } = readFrame(session, frame, this.#book);
    for (const { found, choice } of stopped) this.#book.cancelChoice(found, choice);
    for (const request of touched) this.#book.deliver(request);
    for (const { found, error, moves } of failed) {
      if (found.request.attempt !== found.attempt) continue;
      if (moves) this.#book.move(found, error, this.#nowMs);
      else this.#book.fail(found.request, error);
    }
    if (groupFailure) return this.#close(session, groupFailure.message);
    if (session.broken && session.frames.missingCount === 0) this.#drop(session, session.broken);
  }

  #onTick(): void {
    const elapsedMs = Math.min(this.#nowMs - (this.#tickedMs ?? this.#nowMs), 2 * tickMs);
    this.#tickedMs = this.#nowMs;
    for (const session of [...this.#sessions.values()]) this.#checkSession(session, elapsedMs);
    this.#book.failExpired(this.#nowMs, (model) => this.#readySessions(model).length > 0);
  }

  #checkSession(session: LeaderSession, elapsedMs: number): void {
    const { frameGrace, gapLimit, answerLimit } = this.#options.limits;
    if (session.broken) {
      if (session.frames.isLate(this.#nowMs, frameGrace)) this.#drop(session, session.broken);
      return;
    }
    const failure = session.health.tick(elapsedMs, session.requests.size > 0);
    if (failure) return this.#close(session, failure);
    this.#moveLost(session, session.frames.takeLost(this.#nowMs, gapLimit));
    this.#attachIfNeeded(session);
    this.#detachIfNeedless(session);
    for (const request of session.requests) {
      const { attempt } = request;
      if (attempt && !attempt.accepted && this.#nowMs - attempt.submittedMs >= answerLimit) {
        this.#book.move({ request, attempt }, unanswered(session.group, answerLimit), this.#nowMs);
      }
    }
  }

  /** Moves the requests that these frames may have had tokens of. */
  #moveLost(session: LeaderSession, lost: readonly number[]): void {
    this.stats.lostFrames += lost.length;
    if (lost.length === 0) return;
    for (const request of [...session.requests]) {
      const { attempt } = request;
      const missed = attempt ? lost.filter((sequence) => request.missesFrame(attempt, sequence)) : [];
      if (!attempt || missed.length === 0) continue;
      this.#book.move({ request, attempt }, lostFrames(session, missed, request.completionTokens), this.#nowMs);
    }
  }

  #attachIfNeeded(session: LeaderSession): void {
    const { attachment, frames, requests, busLost } = session;
    if (attachment.isOpen || session.broken || requests.size === 0) return;
    const isBusBad = busLost || !this.#busConnected;
    if (!isBusBad && !frames.isLate(this.#nowMs, this.#options.limits.frameGrace)) return;
    attachment.becomeOpen();
    this.stats.attaches++;
    const { id, group, epoch } = session;
    const attempts = [...requests].flatMap((request) => {
      // One that the leader has not answered may be unknown to it yet.
      return request.attempt?.accepted ? request.progress(request.attempt) : [];
    });
    const request = { routerIncarnation: this.#options.incarnation, group, epoch, attempts };
    this.#actions.push({ kind: 'attach', session: id, request });
  }

  #detachIfNeedless({ id, attachment, busLost, requests }: LeaderSession): void {
    if (!attachment.isOpen || busLost || !this.#busConnected) return;
    if (!attachment.isNeedless && requests.size > 0) return;
    attachment.becomeClosed();
    this.#actions.push({ kind: 'detach', session: id });
  }

  #close(session: LeaderSession, reason: string): void {
    const error = new TriremeError('UNAVAILABLE', `the leader of group ${session.group} is given up: ${reason}`);
    this.#actions.push({ kind: 'close-session', session: session.id, error });
    this.#drop(session, error);
  }

  #replace(earlier: LeaderSession): void {
    const error = new TriremeError('UNAVAILABLE', 'a newer session took its place');
    earlier.broken = error;
    this.#moveAway(earlier, error);
    this.#drop(earlier, error);
  }

  /** Nobody died: its requests go elsewhere with a clean record. */
  #moveAway(session: LeaderSession, error: TriremeError): void {
    for (const request of [...session.requests].reverse()) {
      const { attempt } = request;
      if (attempt) this.#book.move({ request, attempt }, sessionLost(session, error), this.#nowMs);
    }
  }

  /** Forgets a session; what it carried goes on elsewhere. */
  #drop(session: LeaderSession, error: TriremeError): void {
    session.broken = error;
    this.#sessions.delete(session.id);
    if (this.#byGroup.get(session.group) === session) this.#byGroup.delete(session.group);
    this.#book.moveAll(session, sessionLost(session, error), this.#nowMs);
    assert(session.requests.size === 0, `requests are left at ${session.group}`);
  }

  #candidates(request: ActiveRequest): LeaderSession[] {
    return this.#readySessions(request.model).filter(
      (session) =>
        session.hasRoomFor(request.n) &&
        request.mayRunAt(session.streamDigest) &&
        !(request.isSuspect && session.hasSuspect),
    );
  }

  #readySessions(model: string): LeaderSession[] {
    return [...this.#byGroup.values()].filter((session) => session.model === model && this.#isReady(session));
  }

  #isReady(session: LeaderSession): boolean {
    return !session.broken && this.#options.fleet.isReady(session.group, session.epoch);
  }
}
