/**
 * One choice of a request as its client sees it: every position once and in order, then one finish reason. Entries may
 * come twice or early; an early one is held until those before it have come.
 */
import { assert } from '#platform/assert.ts';
import { type ChoiceDelta, FinishReason, type ReceivedChoice } from '#proto/inference.ts';
import type { EmittedTokens, FrameEntry } from '#proto/worker.ts';
import type { ChoiceReply } from './choice-reply.ts';

/** Early entries that are held; one more and the choice cannot be continued. */
export const maxHeldEntries = 1024;

interface HeldEntry {
  readonly entry: FrameEntry;
  readonly sequence: number;
}

export class Choice {
  readonly index: number;
  /** All that the client has, to go on elsewhere. */
  readonly #tokens: number[];
  #lastSequence = 0;
  #finished = false;
  #stopsAtLeader = false;
  readonly #held: HeldEntry[] = [];
  readonly #reply: ChoiceReply;

  /** received: what the client has already, and the reply has read. */
  constructor(index: number, reply: ChoiceReply, received?: ReceivedChoice) {
    this.index = index;
    this.#reply = reply;
    this.#tokens = [...(received?.tokenIds ?? [])];
    this.#finished = received?.finished ?? false;
  }

  /** Tokens that the client has. */
  get tokenCount(): number {
    return this.#tokens.length;
  }

  /** What another group needs to go on from here. */
  get emitted(): EmittedTokens {
    return { ids: [...this.#tokens], finished: this.#finished };
  }

  /** The newest frame up to which nothing of this choice is missing. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** It ended here, by a stop string, and its leader has to be told. */
  get stopsAtLeader(): boolean {
    return this.#stopsAtLeader;
  }

  /** Entries that wait for earlier ones. */
  get heldCount(): number {
    return this.#held.length;
  }

  /** Its next attempt begins: what waits is of the last one, and will come again. */
  restart(): void {
    this.#held.length = 0;
    this.#lastSequence = 0;
  }

  /** What the client gets of it; undefined: nothing new. sequence: of the entry's frame. */
  take(entry: FrameEntry, sequence: number): ChoiceDelta | undefined {
    if (this.#finished) return undefined;
    if (entry.firstPosition > this.tokenCount) {
      this.#held.push({ entry, sequence });
      return undefined;
    }
    let delta = this.#append(entry, sequence, undefined);
    for (let i = this.#ripe(); i >= 0 && !this.#finished; i = this.#ripe()) {
      const [held] = this.#held.splice(i, 1);
      delta = this.#append(held!.entry, held!.sequence, delta);
    }
    return delta;
  }

  #ripe(): number {
    return this.#held.findIndex(({ entry }) => entry.firstPosition <= this.tokenCount);
  }

  /** Adds what is new in the entry to the delta. */
  #append(entry: FrameEntry, sequence: number, delta: ChoiceDelta | undefined): ChoiceDelta | undefined {
    this.#lastSequence = Math.max(this.#lastSequence, sequence);
    const known = this.tokenCount - entry.firstPosition;
    const { tokenIds, logprobs, finishReason } = entry;
    if (known > tokenIds.length || (known === tokenIds.length && finishReason === undefined)) return delta;
    const into = delta ?? this.#emptyDelta();
    let end = known;
    for (; end < tokenIds.length && !this.#reply.stopped; end++) this.#reply.push(tokenIds[end]!, into);
    if (!this.#reply.stopped && finishReason !== undefined) this.#reply.end(into);
    addTokens(into, tokenIds, known, end);
    if (logprobs.length > 0) into.logprobs = into.logprobs.concat(logprobs.slice(known, end));
    for (let i = known; i < end; i++) this.#tokens.push(tokenIds[i]!);
    assert(into.firstPosition + into.tokenIds.length === this.tokenCount, 'positions do not follow on');
    const reason = this.#reply.stopped ? FinishReason.FINISH_REASON_STOP : finishReason;
    if (reason !== undefined) {
      const calls = reason === FinishReason.FINISH_REASON_STOP && this.#reply.hasCall;
      into.finishReason = calls ? FinishReason.FINISH_REASON_TOOL_CALLS : reason;
      this.#stopsAtLeader = finishReason === undefined;
      into.embedding = entry.embedding;
      this.#finished = true;
      this.#held.length = 0;
    }
    return into;
  }

  #emptyDelta(): ChoiceDelta {
    return {
      index: this.index,
      firstPosition: this.tokenCount,
      tokenIds: [],
      text: '',
      logprobs: [],
      finishReason: undefined,
      reasoning: '',
      toolCalls: [],
      embedding: [],
    };
  }
}

/** Mostly an entry is taken whole, and then its array is. */
function addTokens(delta: ChoiceDelta, ids: number[], from: number, to: number): void {
  if (delta.tokenIds.length === 0 && from === 0 && to === ids.length) delta.tokenIds = ids;
  else delta.tokenIds = delta.tokenIds.concat(ids.slice(from, to));
}
