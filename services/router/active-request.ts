/** A request between its acceptance and its end. */
import { assert } from '#platform/assert.ts';
import type { TriremeError } from '#platform/errors.ts';
import type { ChoiceDelta } from '#proto/inference.ts';
import type { Submit } from '#proto/worker.ts';
import { Choice } from './choice.ts';
import type { RoutedRequest, SessionId } from './events.ts';

/** What a request knows of the session that carries it. */
export interface Carrier {
  readonly id: SessionId;
  readonly group: string;
  readonly epoch: number;
  readonly frames: { readonly next: number };
  readonly broken: TriremeError | undefined;
  readonly requests: Set<ActiveRequest>;
  onSubmit(n: number): void;
  onAccepted(n: number): void;
  onRefused(n: number, full: boolean): void;
}

/** One submission to a group. */
export interface Attempt {
  readonly number: number;
  readonly session: Carrier;
  /** Frames before this one were sent before the submit. */
  readonly firstSequence: number;
  readonly submittedMs: number;
  accepted: boolean;
}

export class ActiveRequest {
  readonly request: RoutedRequest;
  readonly arrivedMs: number;
  readonly choices: readonly Choice[];
  /** undefined while it waits in the queue. */
  attempt: Attempt | undefined;
  /** What this step brings its client. */
  readonly deltas: ChoiceDelta[] = [];
  #attemptCount = 0;

  constructor(request: RoutedRequest, nowMs: number) {
    this.request = request;
    this.arrivedMs = nowMs;
    this.choices = request.replies.map((reply, index) => new Choice(index, reply));
  }

  get id(): string {
    return this.request.id;
  }

  get model(): string {
    return this.request.model;
  }

  get n(): number {
    return this.choices.length;
  }

  get isFinished(): boolean {
    return this.choices.every(({ finished }) => finished);
  }

  get completionTokens(): number {
    return this.choices.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  }

  /** Begins the next attempt and gives what to send for it. */
  becomeSubmitted(session: Carrier, nowMs: number): Submit {
    assert(!this.attempt, `request ${this.id} is submitted while an attempt runs`);
    assert(this.completionTokens === 0, `request ${this.id} is submitted anew after its first token`);
    const number = ++this.#attemptCount;
    const firstSequence = session.frames.next;
    this.attempt = { number, session, firstSequence, submittedMs: nowMs, accepted: false };
    session.requests.add(this);
    session.onSubmit(this.n);
    const { id: requestId, prompt, sampling, adapter, pooling } = this.request;
    const { epoch } = session;
    return {
      requestId,
      attempt: number,
      prompt: [...prompt],
      emitted: [],
      sampling,
      n: this.n,
      epoch,
      adapter,
      pooling,
    };
  }

  /** The leader has it, as its answer or its first tokens show. */
  becomeAccepted(attempt: Attempt): void {
    if (attempt.accepted) return;
    attempt.accepted = true;
    attempt.session.onAccepted(this.n);
  }

  /** full: for want of room. */
  becomeRefused(attempt: Attempt, full: boolean): void {
    assert(!attempt.accepted, `request ${this.id} is refused after it was accepted`);
    attempt.session.onRefused(this.n, full);
    this.#leave(attempt);
  }

  /** Ends the attempt for good: the request goes with it. */
  becomeEnded(attempt: Attempt): void {
    if (!attempt.accepted) attempt.session.onAccepted(this.n);
    this.#leave(attempt);
  }

  /** Whether a frame that is lost may have had tokens of this request. */
  missesFrame(attempt: Attempt, sequence: number): boolean {
    if (sequence < attempt.firstSequence) return false;
    return this.choices.some(({ finished, lastSequence }) => !finished && lastSequence < sequence);
  }

  #leave(attempt: Attempt): void {
    attempt.session.requests.delete(this);
    this.attempt = undefined;
  }
}
