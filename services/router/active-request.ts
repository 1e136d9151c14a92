/** A request between its acceptance and its end. */
import { assert } from '#platform/assert.ts';
import type { TriremeError } from '#platform/errors.ts';
import type { ChoiceDelta, GenerateResponse } from '#proto/inference.ts';
import type { AttachedAttempt, Submit } from '#proto/worker.ts';
import { Choice } from './choice.ts';
import type { RoutedRequest, SessionId } from './events.ts';

/** What a request knows of the session that carries it. */
export interface Carrier {
  readonly id: SessionId;
  readonly group: string;
  readonly epoch: number;
  /** Groups of the same go on with each other's streams, to the bit. */
  readonly streamDigest: string;
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
  /** It has brought its client something: whatever ends its group now, computing what the client had before did not. */
  proven: boolean;
}

export interface WaitLimits {
  readonly maxQueueWait: number;
  readonly maxMoveWait: number;
}

export class ActiveRequest {
  readonly request: RoutedRequest;
  readonly choices: readonly Choice[];
  /** undefined while it waits in the queue. */
  attempt: Attempt | undefined;
  /** What this step brings its client. */
  readonly deltas: ChoiceDelta[] = [];
  #waitsUntilMs: number;
  #attemptCount = 0;
  #moveCount = 0;
  #isSuspect = false;
  #toldOrigin = false;
  /** Of the group that its tokens came from. */
  #streamDigest: string | undefined;
  readonly #limits: WaitLimits;

  constructor(request: RoutedRequest, limits: WaitLimits, nowMs: number) {
    this.request = request;
    this.#limits = limits;
    this.#waitsUntilMs = nowMs + limits.maxQueueWait;
    this.choices = request.replies.map((reply, index) => new Choice(index, reply, request.received[index]));
    this.#streamDigest = request.streamDigest === '' ? undefined : request.streamDigest;
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

  /** Suspects wait apart, lest they hold up the others. */
  get queue(): string {
    return this.#isSuspect ? `${this.model}\nsuspects` : this.model;
  }

  get waitsUntilMs(): number {
    return this.#waitsUntilMs;
  }

  get isFinished(): boolean {
    return this.choices.every(({ finished }) => finished);
  }

  get completionTokens(): number {
    return this.choices.reduce((sum, { tokenCount }) => sum + tokenCount, 0);
  }

  /** Times that it has gone on elsewhere. */
  get moveCount(): number {
    return this.#moveCount;
  }

  /**
   * Its group died before it had brought a token, perhaps of it. A group gets one suspect at a time, until that has brought
   * one; the second death is a proof.
   */
  get isSuspect(): boolean {
    return this.#isSuspect;
  }

  /** Whether a group of this digest can go on with it. */
  mayRunAt(streamDigest: string): boolean {
    return this.#streamDigest === undefined || this.#streamDigest === streamDigest;
  }

  /** Begins the next attempt and gives what to send for it. */
  becomeSubmitted(session: Carrier, nowMs: number): Submit {
    assert(!this.attempt, `request ${this.id} is submitted while an attempt runs`);
    const number = ++this.#attemptCount;
    const firstSequence = session.frames.next;
    this.attempt = { number, session, firstSequence, submittedMs: nowMs, accepted: false, proven: false };
    session.requests.add(this);
    session.onSubmit(this.n);
    const { id: requestId, prompt, sampling, adapter, pooling } = this.request;
    const begun = this.choices.some(({ tokenCount, finished }) => tokenCount > 0 || finished);
    return {
      requestId,
      attempt: number,
      prompt: [...prompt],
      emitted: begun ? this.choices.map(({ emitted }) => emitted) : [],
      sampling,
      n: this.n,
      epoch: session.epoch,
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

  /** It has brought its client something. */
  becomeProven(attempt: Attempt): void {
    attempt.proven = true;
    this.#streamDigest ??= attempt.session.streamDigest;
    this.#isSuspect = false;
  }

  /** What its first message says, and no other. */
  takeOrigin(): Pick<GenerateResponse, 'seed' | 'streamDigest'> {
    if (this.#toldOrigin) return { streamDigest: '' };
    this.#toldOrigin = true;
    return { seed: this.request.sampling.seed, streamDigest: this.#streamDigest ?? '' };
  }

  /** full: for want of room. */
  becomeRefused(attempt: Attempt, full: boolean): void {
    assert(!attempt.accepted, `request ${this.id} is refused after it was accepted`);
    attempt.session.onRefused(this.n, full);
    this.#leave(attempt);
  }

  /** The attempt is over, the request goes on. died: its group died, and it may have been the reason. */
  becomeMoved(attempt: Attempt, died: boolean, nowMs: number): void {
    if (!attempt.accepted) attempt.session.onAccepted(this.n);
    this.#leave(attempt);
    this.#moveCount++;
    this.#waitsUntilMs = nowMs + this.#limits.maxMoveWait;
    for (const choice of this.choices) choice.restart();
    this.#isSuspect ||= died && !attempt.proven;
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

  /** Where its client stands. */
  progress({ number }: Attempt): AttachedAttempt {
    return { requestId: this.id, attempt: number, from: this.choices.map(({ tokenCount }) => tokenCount) };
  }

  #leave(attempt: Attempt): void {
    attempt.session.requests.delete(this);
    this.attempt = undefined;
  }
}
