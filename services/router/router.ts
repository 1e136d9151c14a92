/**
 * The router's core: events in, actions out. It decides who runs where, forwards every position once and in order, and
 * ends every accepted request exactly once. It does no I/O and reads no clock.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { FrameEntry, LeaderMessage } from '#proto/worker.ts';
import { ActiveRequest, type Attempt } from './active-request.ts';
import { Admission } from './admission.ts';
import { maxHeldEntries } from './choice.ts';
import type { RouterLimits } from './config.ts';
import type { OpenedSession, RoutedRequest, RouterAction, RouterEvent, RouterStats, SessionId } from './events.ts';
import {
  errorFromLeader,
  lostFrames,
  noGroup,
  queueFull,
  sendsElsewhere,
  sessionLost,
  unanswered,
} from './failures.ts';
import type { FleetView } from './fleet.ts';
import { LeaderSession } from './leader-session.ts';
import type { Policy } from './policy.ts';

/** How often the shell sends a tick. */
export const tickMs = 100;

export interface RouterOptions {
  readonly incarnation: string;
  readonly limits: RouterLimits;
  readonly fleet: FleetView;
  readonly policy: Policy;
}

export class Router {
  readonly stats: RouterStats = { requests: 0, failures: 0, tokens: 0, frames: 0, staleFrames: 0, lostFrames: 0 };
  #actions: RouterAction[] = [];
  #nowMs = 0;
  #tickedMs: number | undefined;
  readonly #requests = new Map<string, ActiveRequest>();
  readonly #sessions = new Map<SessionId, LeaderSession>();
  /** The newest session of each group. */
  readonly #byGroup = new Map<string, LeaderSession>();
  readonly #admission: Admission<ActiveRequest>;
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
    this.#admission = new Admission(options.limits);
  }

  get activeCount(): number {
    return this.#admission.activeCount;
  }

  get queuedCount(): number {
    return this.#admission.queuedCount;
  }

  get requestCount(): number {
    return this.#requests.size;
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
    return this.#actions;
  }

  #handle(event: RouterEvent): void {
    switch (event.kind) {
      case 'frame':
        return this.#onFrame(event);
      case 'request':
        return this.#onRequest(event.request);
      case 'abandon':
        return this.#onAbandon(event);
      case 'session-opened':
        return this.#onSessionOpened(event);
      case 'session-message':
        return this.#onSessionMessage(event.session, event.message);
      case 'session-ended':
        return this.#onSessionEnded(event.session, event.error);
      case 'placement':
        return this.#dispatch();
      case 'tick':
        return this.#onTick();
    }
  }

  #onRequest(routed: RoutedRequest): void {
    assert(!this.#requests.has(routed.id), `request ${routed.id} is in flight already`);
    const request = new ActiveRequest(routed, this.#nowMs);
    this.stats.requests++;
    this.#requests.set(routed.id, request);
    this.#admission.enqueue(request);
    this.#dispatch();
    const { maxQueuedRequests } = this.#options.limits;
    if (!request.attempt && this.#admission.isOverfull) this.#fail(request, queueFull(maxQueuedRequests));
  }

  #onAbandon({ requestId, error }: { requestId: string; error: TriremeError }): void {
    const request = this.#requests.get(requestId);
    if (!request) return;
    this.#fail(request, error);
    this.#dispatch();
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
    const session = new LeaderSession(opened, record, this.#options.limits);
    this.#sessions.set(session.id, session);
    this.#byGroup.set(session.group, session);
    this.#dispatch();
  }

  #onSessionMessage(id: SessionId, message: LeaderMessage['message']): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken) return;
    session.health.onMessage();
    switch (message?.$case) {
      case 'accepted': {
        const found = this.#attemptOf(session, message.value);
        if (found) found.request.becomeAccepted(found.attempt);
        return;
      }
      case 'refused':
        return this.#onRefused(session, message.value);
      case 'status':
        session.onStatus(message.value, this.#nowMs);
        if (session.frames.overflowed) return this.#close(session, 'it counts frames that nobody sent');
        return this.#dispatch();
      default:
        return this.#close(session, 'it sent a message that does not belong in a session');
    }
  }

  #onRefused(
    session: LeaderSession,
    { requestId, attempt, code, message }: { requestId: string; attempt: number; code: string; message: string },
  ): void {
    const found = this.#attemptOf(session, { requestId, attempt });
    if (!found || found.attempt.accepted) return;
    found.request.becomeRefused(found.attempt, sendsElsewhere(code));
    this.#admission.requeue(found.request);
    if (!sendsElsewhere(code)) this.#fail(found.request, errorFromLeader(session.group, code, message));
    else if (code === 'STALE_EPOCH') this.#close(session, message);
    this.#dispatch();
  }

  /** The leader's last frames may come after the session's end; only when none is missing are its requests over. */
  #onSessionEnded(id: SessionId, error: TriremeError): void {
    const session = this.#sessions.get(id);
    if (!session || session.broken) return;
    session.broken = error;
    if (session.frames.missingCount === 0) this.#drop(session, error);
  }

  #onFrame({ frame }: Extract<RouterEvent, { kind: 'frame' }>): void {
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
    for (const request of touched) this.#deliver(request, session);
    if (session.broken && session.frames.missingCount === 0) this.#drop(session, session.broken);
  }

  #onEntry(session: LeaderSession, entry: FrameEntry, sequence: number, touched: ActiveRequest[]): void {
    const found = this.#attemptOf(session, entry);
    const choice = found?.request.choices[entry.choice];
    if (!found || !choice || choice.finished) return;
    const { request, attempt } = found;
    request.becomeAccepted(attempt);
    if (entry.errorCode !== '') {
      return this.#fail(request, errorFromLeader(session.group, entry.errorCode, entry.errorMessage));
    }
    const delta = choice.take(entry, sequence);
    if (choice.heldCount > 0 && (session.frames.missingCount === 0 || choice.heldCount > maxHeldEntries)) {
      return this.#fail(request, lostFrames(session, [], choice.tokenCount));
    }
    if (!delta) return;
    if (request.deltas.length === 0) touched.push(request);
    request.deltas.push(delta);
    if (choice.stopsAtLeader) this.#cancel(request, attempt, [choice.index]);
  }

  /** Hands on what a frame brought for a request, and ends it when that was all. */
  #deliver(request: ActiveRequest, session: LeaderSession): void {
    const { attempt } = request;
    // It may have failed by a later entry of the same frame.
    if (!attempt) return;
    const choices = request.deltas.splice(0);
    for (const { tokenIds } of choices) this.stats.tokens += tokenIds.length;
    const { isFinished, completionTokens } = request;
    const usage = isFinished ? { promptTokens: request.request.prompt.length, completionTokens } : undefined;
    const response = { requestId: request.id, group: session.group, choices, usage };
    this.#actions.push({ kind: 'deliver', requestId: request.id, response });
    if (!isFinished) return;
    this.#acknowledge(request, attempt);
    this.#end(request, undefined);
    this.#dispatch();
  }

  #onTick(): void {
    const elapsedMs = Math.min(this.#nowMs - (this.#tickedMs ?? this.#nowMs), 2 * tickMs);
    this.#tickedMs = this.#nowMs;
    for (const session of [...this.#sessions.values()]) this.#checkSession(session, elapsedMs);
    for (const request of this.#admission.expired(this.#nowMs)) {
      this.#fail(request, noGroup(request.model, this.#options.limits.maxQueueWait, this.#hasGroup(request.model)));
    }
    this.#dispatch();
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
        this.#fail(request, unanswered(session.group, answerLimit));
      }
    }
  }

  /** Ends the requests that these frames may have had tokens of: they cannot be told from those that were not in them. */
  #failLost(session: LeaderSession, lost: readonly number[]): void {
    this.stats.lostFrames += lost.length;
    if (lost.length === 0) return;
    for (const request of session.requests) {
      const { attempt } = request;
      if (!attempt) continue;
      const missed = lost.filter((sequence) => request.missesFrame(attempt, sequence));
      if (missed.length > 0) this.#fail(request, lostFrames(session, missed, request.completionTokens));
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
    for (const request of session.requests) this.#fail(request, sessionLost(session, error));
    assert(session.requests.size === 0, `requests are left at ${session.group}`);
    this.#dispatch();
  }

  #dispatch(): void {
    this.#admission.dispatch((request) => {
      const candidates = [...this.#byGroup.values()].filter(
        (session) => session.model === request.model && this.#isReady(session) && session.hasRoomFor(request.n),
      );
      const session = this.#options.policy.pick({ model: request.model, n: request.n }, candidates);
      if (!session) return false;
      const value = request.becomeSubmitted(session, this.#nowMs);
      this.#actions.push({ kind: 'send', session: session.id, message: { $case: 'submit', value } });
      return true;
    });
  }

  #isReady(session: LeaderSession): boolean {
    return !session.broken && this.#options.fleet.isReady(session.group, session.epoch);
  }

  #hasGroup(model: string): boolean {
    return [...this.#byGroup.values()].some((session) => session.model === model && this.#isReady(session));
  }

  /** The request whose current attempt this is, at this session. */
  #attemptOf(
    session: LeaderSession,
    { requestId, attempt: number }: { requestId: string; attempt: number },
  ): { request: ActiveRequest; attempt: Attempt } | undefined {
    const request = this.#requests.get(requestId);
    const attempt = request?.attempt;
    return request && attempt?.session === session && attempt.number === number ? { request, attempt } : undefined;
  }

  #cancel(request: ActiveRequest, attempt: Attempt, choices: number[]): void {
    const value = { requestId: request.id, attempt: attempt.number, choices };
    this.#actions.push({ kind: 'send', session: attempt.session.id, message: { $case: 'cancel', value } });
  }

  #acknowledge(request: ActiveRequest, attempt: Attempt): void {
    const value = { requestId: request.id, attempt: attempt.number };
    this.#actions.push({ kind: 'send', session: attempt.session.id, message: { $case: 'acknowledge', value } });
  }

  #fail(request: ActiveRequest, error: TriremeError): void {
    const { attempt } = request;
    if (attempt && !attempt.session.broken) {
      this.#cancel(request, attempt, []);
      // The leader may have ended it in the meantime, and keeps what it ended until it is acknowledged.
      this.#acknowledge(request, attempt);
    }
    this.stats.failures++;
    this.#end(request, error);
  }

  /** The one place where a request ends. */
  #end(request: ActiveRequest, error: TriremeError | undefined): void {
    assert(this.#requests.delete(request.id), `request ${request.id} ended twice`);
    const { attempt } = request;
    if (attempt) {
      request.becomeEnded(attempt);
      this.#admission.release();
    } else {
      this.#admission.withdraw(request);
    }
    this.#actions.push({ kind: 'end', requestId: request.id, error });
  }
}
