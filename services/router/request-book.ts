/**
 * The requests in flight, from acceptance to their one end: in the queue or with an attempt at a group. Every counter that
 * a request raises is lowered here.
 */
import { assert } from '#platform/assert.ts';
import type { TriremeError } from '#platform/errors.ts';
import { ActiveRequest, type Attempt } from './active-request.ts';
import { Admission } from './admission.ts';
import type { RouterLimits } from './config.ts';
import type { RoutedRequest, RouterAction, RouterStats } from './events.ts';
import { movesExhausted, noGroup, poisonous, queueFull } from './failures.ts';
import type { LeaderSession } from './leader-session.ts';
import type { Policy } from './policy.ts';

export interface RequestBookOptions {
  readonly limits: RouterLimits;
  readonly policy: Policy;
  readonly stats: RouterStats;
  act(action: RouterAction): void;
  /** Sessions of ready groups that can take this request now. */
  candidates(request: ActiveRequest): LeaderSession[];
}

/** A request and its current attempt. */
export interface Found {
  readonly request: ActiveRequest;
  readonly attempt: Attempt;
}

export class RequestBook {
  readonly #requests = new Map<string, ActiveRequest>();
  readonly #admission: Admission<ActiveRequest>;
  readonly #options: RequestBookOptions;

  constructor(options: RequestBookOptions) {
    this.#options = options;
    this.#admission = new Admission(options.limits);
  }

  get size(): number {
    return this.#requests.size;
  }

  get activeCount(): number {
    return this.#admission.activeCount;
  }

  get queuedCount(): number {
    return this.#admission.queuedCount;
  }

  get(requestId: string): ActiveRequest | undefined {
    return this.#requests.get(requestId);
  }

  /** The request whose current attempt this is, at this session. */
  find(session: LeaderSession, name: { readonly requestId: string; readonly attempt: number }): Found | undefined {
    const request = this.#requests.get(name.requestId);
    const attempt = request?.attempt;
    return request && attempt?.session === session && attempt.number === name.attempt
      ? { request, attempt }
      : undefined;
  }

  add(routed: RoutedRequest, nowMs: number): void {
    assert(!this.#requests.has(routed.id), `request ${routed.id} is in flight already`);
    const { stats, limits } = this.#options;
    const request = new ActiveRequest(routed, limits, nowMs);
    stats.requests++;
    if (request.completionTokens > 0) stats.resumed++;
    this.#requests.set(routed.id, request);
    this.#admission.enqueue(request);
    this.dispatch(nowMs);
    if (!request.attempt && this.#admission.isOverfull) this.fail(request, queueFull(limits.maxQueuedRequests));
  }

  /** Sends what may go and can go. */
  dispatch(nowMs: number): void {
    const { policy, candidates, act } = this.#options;
    this.#admission.dispatch((request) => {
      const session = policy.pick({ model: request.model, n: request.n }, candidates(request));
      if (!session) return false;
      const value = request.becomeSubmitted(session, nowMs);
      act({ kind: 'send', session: session.id, message: { $case: 'submit', value } });
      return true;
    });
  }

  /** Back to the head of its queue. full: its group had no room. */
  requeue({ request, attempt }: Found, full: boolean): void {
    request.becomeRefused(attempt, full);
    this.#admission.requeue(request);
  }

  /** The request leaves its group and goes on at the next that can take it. cause: why, for whoever cannot. */
  move({ request, attempt }: Found, cause: TriremeError, nowMs: number, group: 'left' | 'died' = 'left'): void {
    const { limits, stats } = this.#options;
    if (request.moveCount >= limits.maxMoves) return this.fail(request, movesExhausted(limits.maxMoves, cause));
    this.#takeBack(request, attempt);
    request.becomeMoved(attempt, group === 'died', nowMs);
    stats.moves++;
    this.#admission.requeue(request);
  }

  /** A group has died: its requests go on elsewhere, but the one that it dies of. */
  moveAll(session: LeaderSession, cause: TriremeError, nowMs: number): void {
    // The last goes back first, so that they keep their order.
    for (const request of [...session.requests].reverse()) {
      const { attempt } = request;
      assert(attempt, `request ${request.id} is at ${session.group} without an attempt`);
      if (request.isSuspect) this.fail(request, poisonous(cause));
      else this.move({ request, attempt }, cause, nowMs, 'died');
    }
  }

  /** Hands on what a frame brought, and ends the request when that was all. */
  deliver(request: ActiveRequest): void {
    const { attempt } = request;
    assert(attempt, `request ${request.id} has tokens without an attempt`);
    const { stats, act } = this.#options;
    const choices = request.deltas.splice(0);
    request.becomeProven(attempt);
    for (const { tokenIds } of choices) stats.tokens += tokenIds.length;
    const { isFinished, completionTokens } = request;
    const usage = isFinished ? { promptTokens: request.request.prompt.length, completionTokens } : undefined;
    const origin = request.takeOrigin();
    const response = { requestId: request.id, group: attempt.session.group, choices, usage, ...origin };
    act({ kind: 'deliver', requestId: request.id, response });
    if (!isFinished) return;
    this.#acknowledge(request, attempt);
    this.#end(request, undefined);
  }

  /** Ends one choice at its leader; the request goes on. */
  cancelChoice({ request, attempt }: Found, choice: number): void {
    this.#cancel(request, attempt, [choice]);
  }

  fail(request: ActiveRequest, error: TriremeError): void {
    const { attempt } = request;
    if (attempt) this.#takeBack(request, attempt);
    const { failures } = this.#options.stats;
    failures.set(error.code, (failures.get(error.code) ?? 0) + 1);
    this.#end(request, error);
  }

  /** Ends whoever has waited too long. hasGroup: whether the model has a group that is ready. */
  failExpired(nowMs: number, hasGroup: (model: string) => boolean): void {
    const { maxQueueWait, maxMoveWait } = this.#options.limits;
    for (const request of this.#admission.expired(nowMs)) {
      const waitMs = request.moveCount > 0 ? maxMoveWait : maxQueueWait;
      this.fail(request, noGroup(request.model, waitMs, hasGroup(request.model)));
    }
  }

  /** Its leader, if it is still there, stops and forgets it. */
  #takeBack(request: ActiveRequest, attempt: Attempt): void {
    if (attempt.session.broken) return;
    this.#cancel(request, attempt, []);
    // The leader may have ended it in the meantime, and keeps what it ended until it is acknowledged.
    this.#acknowledge(request, attempt);
  }

  #cancel({ id: requestId }: ActiveRequest, { number: attempt, session }: Attempt, choices: number[]): void {
    const message = { $case: 'cancel', value: { requestId, attempt, choices } } as const;
    this.#options.act({ kind: 'send', session: session.id, message });
  }

  #acknowledge({ id: requestId }: ActiveRequest, { number: attempt, session }: Attempt): void {
    const message = { $case: 'acknowledge', value: { requestId, attempt } } as const;
    this.#options.act({ kind: 'send', session: session.id, message });
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
    this.#options.act({ kind: 'end', requestId: request.id, error });
  }
}
