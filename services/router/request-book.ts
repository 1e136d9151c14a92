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
import { noGroup, queueFull } from './failures.ts';
import type { LeaderSession } from './leader-session.ts';
import type { PickRequest, Policy } from './policy.ts';

export interface RequestBookOptions {
  readonly limits: RouterLimits;
  readonly policy: Policy;
  readonly stats: RouterStats;
  act(action: RouterAction): void;
  /** Sessions of ready groups of the model that have room for so many choices. */
  candidates(request: PickRequest): LeaderSession[];
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
    const request = new ActiveRequest(routed, nowMs);
    this.#options.stats.requests++;
    this.#requests.set(routed.id, request);
    this.#admission.enqueue(request);
    this.dispatch(nowMs);
    if (!request.attempt && this.#admission.isOverfull) {
      this.fail(request, queueFull(this.#options.limits.maxQueuedRequests));
    }
  }

  /** Sends what may go and can go. */
  dispatch(nowMs: number): void {
    const { policy, candidates, act } = this.#options;
    this.#admission.dispatch((request) => {
      const wish = { model: request.model, n: request.n };
      const session = policy.pick(wish, candidates(wish));
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

  /** Hands on what a frame brought, and ends the request when that was all. */
  deliver(request: ActiveRequest): void {
    const { attempt } = request;
    // It may have failed by a later entry of the same frame.
    if (!attempt) return;
    const { stats, act } = this.#options;
    const choices = request.deltas.splice(0);
    for (const { tokenIds } of choices) stats.tokens += tokenIds.length;
    const { isFinished, completionTokens } = request;
    const usage = isFinished ? { promptTokens: request.request.prompt.length, completionTokens } : undefined;
    const response = { requestId: request.id, group: attempt.session.group, choices, usage };
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
    if (attempt && !attempt.session.broken) {
      this.#cancel(request, attempt, []);
      // The leader may have ended it in the meantime, and keeps what it ended until it is acknowledged.
      this.#acknowledge(request, attempt);
    }
    const { failures } = this.#options.stats;
    failures.set(error.code, (failures.get(error.code) ?? 0) + 1);
    this.#end(request, error);
  }

  /** Ends whoever has waited too long. hasGroup: whether the model has a group that is ready. */
  failExpired(nowMs: number, hasGroup: (model: string) => boolean): void {
    const { maxQueueWait } = this.#options.limits;
    for (const request of this.#admission.expired(nowMs)) {
      this.fail(request, noGroup(request.model, maxQueueWait, hasGroup(request.model)));
    }
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
