/**
 * The router's core: events in, actions out. It decides who runs where, forwards every position once and in order, and
 * ends every accepted request exactly once. It does no I/O and reads no clock.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { Frame, FrameEntry, LeaderMessage, Refused } from '#proto/worker.ts';
import type { ActiveRequest } from './active-request.ts';
import { maxHeldEntries } from './choice.ts';
import type { RouterLimits } from './config.ts';
import type { OpenedSession, RouterAction, RouterEvent, RouterStats, SessionId } from './events.ts';
import { errorFromLeader, lostFrames, sendsElsewhere, sessionLost, unanswered } from './failures.ts';
import type { FleetView } from './fleet.ts';
import { LeaderSession } from './leader-session.ts';
import type { Policy } from './policy.ts';
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
    frames: 0,
    staleFrames: 0,
    lostFrames: 0,
  };
  #actions: RouterAction[] = [];
  #nowMs = 0;
  #tickedMs: number | undefined;
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
      candidates: ({ model, n }) => this.#readySessions(model).filter((session) => session.hasRoomFor(n)),
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
    return this.#actions;
  }

  #handle(event: RouterEvent): void {
    switch (event.kind) {
      case 'frame':
        return this.#onFrame(event.frame);
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
        return this.#onSessionEnded(event.session, event.error);
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
    if (earlier) this.#drop(earlier, new TriremeError('UNAVAILABLE', 'a newer session took its place'));
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

  /** The leader's last frames may come after the session's end; only when none is missing are its requests over. */
  #onSessionEnded(id: SessionId, error: TriremeError): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken) return;
    session.broken = error;
    if (session.frames.missingCount === 0) this.#drop(session, error);
  }

  #onFrame(frame: Frame): void {
    this.stats.frames++;
    const session = this.#byGroup.get(frame.group);
    const isMine = session?.epoch === frame.epoch && frame.routerIncarnation === this.#options.incarnation;
    if (!session || !isMine || !session.frames.take(frame.sequence, this.#nowMs)) {
      this.stats.staleFrames++;
      return;
    }
    if (session.frames.overflowed) return this.#close(session, 'it counts frames that nobody sent');
    const touched: ActiveRequest[] = [];
    for (const entry of frame.entries) this.#onEntry(session, entry, frame.sequence, touched);
    for (const request of touched) this.#book.deliver(request);
    if (session.broken && session.frames.missingCount === 0) this.#drop(session, session.broken);
  }

  /** touched: gets the request when the entry brought something for its client. */
  #onEntry(session: LeaderSession, entry: FrameEntry, sequence: number, touched: ActiveRequest[]): void {
    const found = this.#book.find(session, entry);
    const choice = found?.request.choices[entry.choice];
    if (!found || !choice || choice.finished) return;
    const { request, attempt } = found;
    request.becomeAccepted(attempt);
    if (entry.errorCode !== '') {
      return this.#book.fail(request, errorFromLeader(session.group, entry.errorCode, entry.errorMessage));
    }
    const delta = choice.take(entry, sequence);
    if (choice.heldCount > 0 && (session.frames.missingCount === 0 || choice.heldCount > maxHeldEntries)) {
      return this.#book.fail(request, lostFrames(session, [], choice.tokenCount));
    }
    if (!delta) return;
    if (request.deltas.length === 0) touched.push(request);
    request.deltas.push(delta);
    if (choice.stopsAtLeader) this.#book.cancelChoice(found, choice.index);
  }

  #onTick(): void {
    const elapsedMs = Math.min(this.#nowMs - (this.#tickedMs ?? this.#nowMs), 2 * tickMs);
    this.#tickedMs = this.#nowMs;
    for (const session of [...this.#sessions.values()]) this.#checkSession(session, elapsedMs);
    this.#book.failExpired(this.#nowMs, (model) => this.#readySessions(model).length > 0);
  }

  #checkSession(session: LeaderSession, elapsedMs: number): void {
    const { frameGrace, answerLimit } = this.#options.limits;
    this.#failLost(session, session.frames.takeLost(this.#nowMs, frameGrace));
    if (session.broken) {
      if (session.frames.missingCount === 0) this.#drop(session, session.broken);
      return;
    }
    const failure = session.health.tick(elapsedMs, session.requests.size > 0);
    if (failure) return this.#close(session, failure);
    for (const request of session.requests) {
      const { attempt } = request;
      if (attempt && !attempt.accepted && this.#nowMs - attempt.submittedMs >= answerLimit) {
        this.#book.fail(request, unanswered(session.group, answerLimit));
      }
    }
  }

  /** Ends the requests that these frames may have had tokens of. */
  #failLost(session: LeaderSession, lost: readonly number[]): void {
    this.stats.lostFrames += lost.length;
    if (lost.length === 0) return;
    for (const request of session.requests) {
      const { attempt } = request;
      const missed = attempt ? lost.filter((sequence) => request.missesFrame(attempt, sequence)) : [];
      if (missed.length > 0) this.#book.fail(request, lostFrames(session, missed, request.completionTokens));
    }
  }

  #close(session: LeaderSession, reason: string): void {
    const error = new TriremeError('UNAVAILABLE', `the leader of group ${session.group} is given up: ${reason}`);
    this.#actions.push({ kind: 'close-session', session: session.id, error });
    this.#drop(session, error);
  }

  /** Forgets a session; what it carried ends. */
  #drop(session: LeaderSession, error: TriremeError): void {
    session.broken = error;
    this.#sessions.delete(session.id);
    if (this.#byGroup.get(session.group) === session) this.#byGroup.delete(session.group);
    for (const request of session.requests) this.#book.fail(request, sessionLost(session, error));
    assert(session.requests.size === 0, `requests are left at ${session.group}`);
  }

  #readySessions(model: string): LeaderSession[] {
    return [...this.#byGroup.values()].filter((session) => session.model === model && this.#isReady(session));
  }

  #isReady(session: LeaderSession): boolean {
    return !session.broken && this.#options.fleet.isReady(session.group, session.epoch);
  }
}
