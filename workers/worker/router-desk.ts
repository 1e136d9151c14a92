/**
 * A leader's dealings with one router incarnation: its attempts, its frames and its session while it has one. Frames are
 * counted without gaps as long as the leader remembers the router, over all its sessions.
 *
 * A session that breaks takes its attempts with it: the router has ended their streams, and nobody else can ask for them.
 */
import { TriremeError } from '#platform/errors.ts';
import type { EngineStatus } from '#proto/control.ts';
import type { EngineAnswer } from '#proto/rank.ts';
import {
  type AttachedAttempt,
  Frame,
  type FrameEntry,
  type LeaderMessage,
  type RouterMessage,
  type Submit,
} from '#proto/worker.ts';
import type { AdapterShelf } from './adapter-shelf.ts';
import { AttemptBook } from './attempt-book.ts';
import type { CommandOutbox } from './command-outbox.ts';
import type { WorkerLimits } from './limits.ts';

/** The way back to a router while its session lasts. */
export interface SessionLink {
  send(message: LeaderMessage): void;
  /** False while the router has not read what was sent: what can wait should. */
  readonly keepsUp: boolean;
  /** Ends the session with this error. The desk has let go of it already. */
  end(error: TriremeError): void;
}

/** The way of frames beside the bus. */
export interface FrameLink {
  send(frame: Frame): void;
  /** Ends it with this error. The desk has let go of it already. */
  end(error: TriremeError): void;
}

export interface DeskContext {
  readonly group: string;
  readonly epoch: number;
  readonly workerIncarnation: string;
  readonly limits: WorkerLimits;
  readonly outbox: CommandOutbox;
  /** Absent: the group takes no adapters. */
  readonly adapters: AdapterShelf | undefined;
  publish(routerIncarnation: string, frame: Uint8Array): void;
  /** No submit is taken any more. */
  isDraining(): boolean;
  isBusLost(): boolean;
  engineStatus(): EngineStatus;
}

interface AdaptedAttempt {
  readonly requestId: string;
  readonly attempt: number;
  readonly adapter: string;
}

export class RouterDesk {
  readonly incarnation: string;
  /** This router's number in what passes between the main thread and rank 0. */
  readonly owner: number;
  #link: SessionLink | undefined;
  #frameLink: FrameLink | undefined;
  #lastFrame = 0;
  /** Attempts that hold an adapter. */
  #adapted: AdaptedAttempt[] = [];
  readonly #book: AttemptBook;
  readonly #context: DeskContext;

  constructor(incarnation: string, owner: number, context: DeskContext) {
    this.incarnation = incarnation;
    this.owner = owner;
    this.#context = context;
    this.#book = new AttemptBook(context.limits);
  }

  get hasSession(): boolean {
    return this.#link !== undefined;
  }

  get runningCount(): number {
    return this.#book.runningCount;
  }

  get unacknowledgedCount(): number {
    return this.#book.endedCount;
  }

  /** A router that says Hello again has lost its earlier session, even if its end has not been seen here yet. */
  openSession(link: SessionLink): void {
    const earlier = this.#link;
    this.leave();
    earlier?.end(new TriremeError('CANCELLED', `router ${this.incarnation} opened a newer session`));
    this.#link = link;
    const { group, epoch, workerIncarnation } = this.#context;
    link.send({ message: { $case: 'welcome', value: { group, epoch, workerIncarnation } } });
    this.sendStatus();
  }

  /** The session of this link is over; an older link than the present one means nothing. */
  onBreak(link: SessionLink): void {
    if (link === this.#link) this.leave();
  }

  /** Lets go of the session and cancels what it carried. */
  leave(): void {
    this.#link = undefined;
    for (const { requestId, attempt } of this.#book.runningAttempts()) {
      this.#context.outbox.cancel({ owner: this.owner, requestId, attempt, choices: [] });
    }
    this.#book.clear();
    this.#releaseAdapters();
  }

  /** Repeats what is kept, then sends every frame there too. A newer link takes the place of an older one. */
  attach(link: FrameLink, named: readonly AttachedAttempt[], step: number): void {
    this.#frameLink?.end(new TriremeError('CANCELLED', `router ${this.incarnation} attached anew`));
    this.#frameLink = link;
    const parts = inParts(this.#book.repeat(named));
    for (const [index, entries] of parts.entries()) {
      const covers = index === parts.length - 1 ? this.#lastFrame : 0;
      link.send(this.#frame(0, step, entries, covers));
    }
  }

  /** The link is over; an older one than the present one means nothing. */
  detach(link: FrameLink): void {
    if (link === this.#frameLink) this.#frameLink = undefined;
  }

  onMessage({ message }: RouterMessage): void {
    switch (message?.$case) {
      case 'submit':
        return this.#onSubmit(message.value);
      case 'cancel': {
        const { requestId, attempt, choices } = message.value;
        if (!this.#book.cancel(requestId, attempt, choices)) return;
        this.#context.outbox.cancel({ owner: this.owner, requestId, attempt, choices });
        return this.#releaseAdapters();
      }
      case 'acknowledge':
        return this.#book.acknowledge(message.value.requestId, message.value.attempt);
      default:
        return this.endSession(new TriremeError('INVALID_ARGUMENT', 'a session takes one Hello, then work for it'));
    }
  }

  onAnswer({ requestId, attempt, refusalCode, refusalMessage }: EngineAnswer): void {
    if (!this.#book.has(requestId, attempt)) return;
    if (refusalCode === '') return this.#send({ $case: 'accepted', value: { requestId, attempt } });
    this.#book.forget(requestId, attempt);
    this.#releaseAdapters();
    this.#refuse(requestId, attempt, refusalCode, refusalMessage);
  }

  /** One frame for what one step brought; a status at once when that ended an attempt. Returns the tokens delivered. */
  onEntries(step: number, entries: readonly FrameEntry[]): number {
    let ended = false;
    let tokens = 0;
    const wanted = entries.filter((entry) => {
      const outcome = this.#book.take(entry);
      ended ||= outcome === 'ended';
      if (outcome !== 'unknown') tokens += entry.tokenIds.length;
      return outcome !== 'unknown';
    });
    if (wanted.length > 0) this.#publish(step, wanted);
    if (ended) {
      this.#releaseAdapters();
      this.sendStatus();
    }
    return tokens;
  }

  sendStatus(): void {
    const { epoch, engineStatus, isBusLost } = this.#context;
    const value = { epoch, lastFrame: this.#lastFrame, engine: engineStatus(), busLost: isBusLost() };
    this.#send({ $case: 'status', value });
  }

  /** The regular status: left out while the router lags, for the next one says more. */
  tick(): void {
    if (this.#link?.keepsUp) this.sendStatus();
  }

  /** The team is over: every attempt ends with an error in a last frame, then the session ends with it too. */
  fail(step: number, error: TriremeError): void {
    const entries = this.#book.failAll(error);
    if (entries.length > 0) this.#publish(step, entries);
    this.sendStatus();
    this.endSession(error);
  }

  endSession(error: TriremeError): void {
    const [link, frameLink] = [this.#link, this.#frameLink];
    this.#frameLink = undefined;
    this.leave();
    link?.end(error);
    frameLink?.end(error);
  }

  #onSubmit(submit: Submit): void {
    const { requestId, attempt } = submit;
    const { outbox } = this.#context;
    try {
      this.#checkSubmit(submit);
      if (submit.adapter !== '') return void this.#submitAdapted(submit);
      if (!outbox.submit(this.owner, submit)) throw engineBusy();
      this.#book.open(submit);
    } catch (error) {
      if (!(error instanceof TriremeError)) throw error;
      this.#refuse(requestId, attempt, error.code, error.message);
    }
  }

  /** Waits for the adapter; the attempt counts as running meanwhile, so that it can be cancelled. */
  async #submitAdapted(submit: Submit): Promise<void> {
    const { requestId, attempt, adapter } = submit;
    const { outbox, adapters } = this.#context;
    this.#book.open(submit);
    try {
      if (!adapters) throw new TriremeError('UNKNOWN_ADAPTER', `the group takes no adapters, ${adapter} among them`);
      const place = await adapters.acquire(adapter);
      this.#adapted.push({ requestId, attempt, adapter });
      if (this.#book.isRunning(requestId, attempt) && !outbox.submit(this.owner, submit, place)) throw engineBusy();
    } catch (cause) {
      const wasRunning = this.#book.isRunning(requestId, attempt);
      this.#book.forget(requestId, attempt);
      const { code, message } = TriremeError.from(cause);
      if (wasRunning) this.#refuse(requestId, attempt, code, message);
    }
    this.#releaseAdapters();
  }

  /** Of attempts that run no more. */
  #releaseAdapters(): void {
    const isRunning = ({ requestId, attempt }: AdaptedAttempt): boolean => this.#book.isRunning(requestId, attempt);
    for (const held of this.#adapted) if (!isRunning(held)) this.#context.adapters?.release(held.adapter);
    this.#adapted = this.#adapted.filter(isRunning);
  }

  #checkSubmit({ requestId, attempt, epoch }: Submit): void {
    const { limits, isDraining } = this.#context;
    if (epoch !== this.#context.epoch) {
      throw new TriremeError('STALE_EPOCH', `submitted for epoch ${epoch}, this is ${this.#context.epoch}`);
    }
    if (this.#book.has(requestId, attempt)) {
      throw new TriremeError('INVALID_ARGUMENT', `attempt ${attempt} of ${requestId} is here already`);
    }
    if (this.#book.runningCount >= limits.runningAttemptsMax) {
      throw new TriremeError('NO_ROOM', `${limits.runningAttemptsMax} attempts of this router run here`);
    }
    if (isDraining()) throw new TriremeError('NO_ROOM', 'the worker is draining');
  }

  #refuse(requestId: string, attempt: number, code: string, message: string): void {
    this.#send({ $case: 'refused', value: { requestId, attempt, code, message } });
  }

  #publish(step: number, entries: FrameEntry[]): void {
    this.#lastFrame++;
    const frame = this.#frame(this.#lastFrame, step, entries, 0);
    this.#frameLink?.send(frame);
    this.#context.publish(this.incarnation, Frame.encode(frame).finish());
  }

  #frame(sequence: number, step: number, entries: FrameEntry[], covers: number): Frame {
    const { group, epoch } = this.#context;
    return { group, epoch, sequence, step, routerIncarnation: this.incarnation, entries, covers };
  }

  #send(message: LeaderMessage['message']): void {
    this.#link?.send({ message });
  }
}

/** What one frame of a repetition holds, about: far below what gRPC takes. */
const partTokens = 16_384;

/** At least one, for the last says how far the repetition goes. */
function inParts(entries: readonly FrameEntry[]): FrameEntry[][] {
  const parts: FrameEntry[][] = [[]];
  let weight = 0;
  for (const entry of entries) {
    if (weight > partTokens) {
      parts.push([]);
      weight = 0;
    }
    parts.at(-1)!.push(entry);
    weight += 1 + entry.tokenIds.length + entry.logprobs.reduce((sum, { top }) => sum + 2 + 2 * top.length, 0);
  }
  return parts;
}

function engineBusy(): TriremeError {
  return new TriremeError('NO_ROOM', 'the engine has not read its commands yet');
}
