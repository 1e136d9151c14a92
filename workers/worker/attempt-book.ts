/**
 * What one router has at one leader: the attempts that run, and the tokens of each until the router acknowledges its end.
 * Pure. Checks that every choice's positions follow on each other without gap or repetition.
 */
import { assert } from '#platform/assert.ts';
import type { TriremeError } from '#platform/errors.ts';
import type { TokenLogprobs } from '#proto/inference.ts';
import { type AttachedAttempt, FrameEntry, type Submit } from '#proto/worker.ts';
import type { WorkerLimits } from './limits.ts';

interface KeptChoice {
  /** Position of tokenIds[0]: the tokens before it came with the submit. */
  readonly firstPosition: number;
  readonly tokenIds: number[];
  readonly logprobs: TokenLogprobs[];
  /** The entry that ended it; undefined while it runs and when it was cancelled. */
  end: FrameEntry | undefined;
}

interface KeptAttempt {
  readonly requestId: string;
  readonly attempt: number;
  readonly choices: readonly KeptChoice[];
  /** Choices that have not ended. The attempt is in #running exactly while this is not empty. */
  readonly running: Set<number>;
}

/** unknown: nobody waits for it. taken: the attempt goes on. ended: this was the attempt's last entry. */
export type EntryOutcome = 'unknown' | 'taken' | 'ended';

export class AttemptBook {
  readonly #running = new Map<string, KeptAttempt>();
  /** Oldest end first. */
  readonly #ended = new Map<string, KeptAttempt>();
  #endedTokens = 0;
  readonly #limits: WorkerLimits;

  constructor(limits: WorkerLimits) {
    this.#limits = limits;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  /** Attempts whose end the router has not acknowledged. */
  get endedCount(): number {
    return this.#ended.size;
  }

  has(requestId: string, attempt: number): boolean {
    const key = keyOf(requestId, attempt);
    return this.#running.has(key) || this.#ended.has(key);
  }

  /** Some choice of it has not ended. */
  isRunning(requestId: string, attempt: number): boolean {
    return this.#running.has(keyOf(requestId, attempt));
  }

  open({ requestId, attempt, n, emitted }: Submit): void {
    assert(!this.has(requestId, attempt), `attempt ${attempt} of ${requestId} opened twice`);
    const choices = Array.from({ length: Math.max(1, n) }, (_, choice) => ({
      firstPosition: emitted[choice]?.ids.length ?? 0,
      tokenIds: [],
      logprobs: [],
      end: undefined,
    }));
    const running = new Set([...choices.keys()].filter((choice) => !emitted[choice]?.finished));
    this.#running.set(keyOf(requestId, attempt), { requestId, attempt, choices, running });
  }

  take(entry: FrameEntry): EntryOutcome {
    const kept = this.#running.get(keyOf(entry.requestId, entry.attempt));
    if (!kept?.running.has(entry.choice)) return 'unknown';
    const choice = kept.choices[entry.choice]!;
    if (entry.tokenIds.length > 0) keepTokens(choice, entry);
    if (entry.finishReason === undefined && entry.errorCode === '') return 'taken';
    choice.end = entry;
    return this.#endChoice(kept, entry.choice) ? 'ended' : 'taken';
  }

  /**
   * All that is kept from the given positions on, oldest attempt first; of attempts that are not named all of it. Tokens of
   * positions before, which came with the submit, are nobody's to ask for.
   */
  repeat(named: readonly AttachedAttempt[]): FrameEntry[] {
    const from = new Map(named.map((each) => [keyOf(each.requestId, each.attempt), each.from]));
    const entries = [...this.#ended, ...this.#running].flatMap(([key, kept]) =>
      repeatAttempt(kept, from.get(key) ?? []),
    );
    for (const { requestId, attempt } of named) {
      if (!this.has(requestId, attempt)) entries.push(unknownAttempt(requestId, attempt));
    }
    return entries;
  }

  /** Ends choices without an entry; none named: the whole attempt, which is then forgotten. False: none of them runs. */
  cancel(requestId: string, attempt: number, choices: readonly number[]): boolean {
    const key = keyOf(requestId, attempt);
    const kept = this.#running.get(key);
    if (choices.length === 0) return this.#running.delete(key);
    const named = choices.filter((choice) => kept?.running.has(choice));
    if (!kept || named.length === 0) return false;
    for (const choice of named) this.#endChoice(kept, choice);
    return true;
  }

  /** The router has all of it. Unknown attempts are no error: they were cancelled, or forgotten at a limit. */
  acknowledge(requestId: string, attempt: number): void {
    this.#forgetEnded(keyOf(requestId, attempt));
  }

  /** Takes back what the engine refused, or the router left. */
  forget(requestId: string, attempt: number): void {
    this.#running.delete(keyOf(requestId, attempt));
  }

  runningAttempts(): { requestId: string; attempt: number }[] {
    return [...this.#running.values()].map(({ requestId, attempt }) => ({ requestId, attempt }));
  }

  /** One last entry for every choice that runs; afterwards none does. */
  failAll({ code, message }: TriremeError): FrameEntry[] {
    const entries = [...this.#running.values()].flatMap(({ requestId, attempt, choices, running }) =>
      [...running].map((choice) => {
        const { firstPosition, tokenIds } = choices[choice]!;
        const next = firstPosition + tokenIds.length;
        const end = { requestId, attempt, choice, firstPosition: next, errorCode: code, errorMessage: message };
        return FrameEntry.fromPartial(end);
      }),
    );
    for (const entry of entries) this.take(entry);
    return entries;
  }

  clear(): void {
    this.#running.clear();
    this.#ended.clear();
    this.#endedTokens = 0;
  }

  /** True when it was the attempt's last. */
  #endChoice(kept: KeptAttempt, choice: number): boolean {
    kept.running.delete(choice);
    if (kept.running.size > 0) return false;
    const key = keyOf(kept.requestId, kept.attempt);
    this.#running.delete(key);
    this.#ended.set(key, kept);
    this.#endedTokens += tokensOf(kept);
    const { endedAttemptsMax, endedTokensMax } = this.#limits;
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size <= endedAttemptsMax && this.#endedTokens <= endedTokensMax) break;
      this.#forgetEnded(oldest);
    }
    return true;
  }

  #forgetEnded(key: string): void {
    const kept = this.#ended.get(key);
    if (!kept) return;
    this.#ended.delete(key);
    this.#endedTokens -= tokensOf(kept);
  }
}

function keepTokens(choice: KeptChoice, entry: FrameEntry): void {
  const next = choice.firstPosition + choice.tokenIds.length;
  assert(
    entry.firstPosition === next,
    `${entry.requestId} choice ${entry.choice}: position ${entry.firstPosition} instead of ${next}`,
  );
  for (const id of entry.tokenIds) choice.tokenIds.push(id);
  for (const logprob of entry.logprobs) choice.logprobs.push(logprob);
}

function repeatAttempt({ requestId, attempt, choices }: KeptAttempt, from: readonly number[]): FrameEntry[] {
  return choices.flatMap(({ firstPosition, tokenIds, logprobs, end }, choice) => {
    const known = Math.max(0, (from[choice] ?? 0) - firstPosition);
    if (known >= tokenIds.length && !end) return [];
    const entry = FrameEntry.fromPartial({
      ...(end ?? {}),
      ...{ requestId, attempt, choice, firstPosition: firstPosition + Math.min(known, tokenIds.length) },
      ...{ tokenIds: tokenIds.slice(known), logprobs: logprobs.slice(known) },
    });
    return [entry];
  });
}

/** The router has it still, and this leader does not: cancelled, or forgotten at a limit. */
function unknownAttempt(requestId: string, attempt: number): FrameEntry {
  const errorMessage = 'the leader has forgotten the attempt';
  return FrameEntry.fromPartial({ requestId, attempt, errorCode: 'STALE_EPOCH', errorMessage });
}

function tokensOf({ choices }: KeptAttempt): number {
  return choices.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
}

function keyOf(requestId: string, attempt: number): string {
  return `${attempt} ${requestId}`;
}
