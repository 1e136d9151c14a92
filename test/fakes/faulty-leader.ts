/**
 * A leader and the network between it and the router's core, both as bad as they may be: frames overtake each other, come
 * twice, get lost or arrive long after their session; messages of a session are late but in order; sessions break.
 */
import { EngineStatus } from '#proto/control.ts';
import { FinishReason } from '#proto/inference.ts';
import { type Frame, FrameEntry, type LeaderMessage, type RouterMessage, type Submit } from '#proto/worker.ts';
import type { RouterAction } from '../../services/router/events.ts';
import { type CoreBench, routerIncarnation } from './router-core.ts';

const capacity = 4;

/** What choice `choice` of a request generates, all of it. */
export function fullText(requestId: string, choice: number): string {
  const seed = [...requestId].reduce((sum, character) => (sum * 31 + character.charCodeAt(0)) % 997, 11) + 7 * choice;
  return Array.from({ length: seed % 6 }, (_, position) => 'abc'[(seed * (position + 3) + position) % 3]).join('');
}

interface SimulatedChoice {
  readonly text: string;
  position: number;
  ended: boolean;
}

interface SimulatedAttempt {
  readonly requestId: string;
  readonly attempt: number;
  readonly choices: SimulatedChoice[];
}

export class FaultyLeader {
  readonly group: string;
  epoch = 1;
  /** The next submit is refused with this code. */
  refusal: string | undefined;
  #session: number | undefined;
  #step = 0;
  #lastFrame = 0;
  readonly #frames: Frame[];
  readonly #running = new Map<string, SimulatedAttempt>();
  readonly #unacknowledged = new Set<string>();
  #toLeader: NonNullable<RouterMessage['message']>[] = [];
  #toRouter: LeaderMessage['message'][] = [];

  constructor(group: string, frames: Frame[]) {
    this.group = group;
    this.#frames = frames;
  }

  get session(): number | undefined {
    return this.#session;
  }

  /** Nothing is kept of any attempt. */
  get isIdle(): boolean {
    return this.#running.size === 0 && this.#unacknowledged.size === 0;
  }

  open(bench: CoreBench, session: number, newEpoch: boolean): readonly RouterAction[] {
    if (newEpoch) {
      this.epoch++;
      this.#lastFrame = 0;
      this.#step = 0;
    }
    const { group, epoch } = this;
    bench.fleet.put(group, epoch);
    this.#session = session;
    const opened = { session, group, epoch, lastFrame: this.#lastFrame, engine: this.#engine };
    return bench.step({ kind: 'session-opened', ...opened });
  }

  /** Both sides lose the session; frames that left are still under way. */
  breakOff(): void {
    this.#session = undefined;
    this.#toLeader = [];
    this.#toRouter = [];
    this.#running.clear();
    this.#unacknowledged.clear();
  }

  receive(message: NonNullable<RouterMessage['message']>): void {
    this.#toLeader.push(message);
  }

  /** Reads the router's oldest message. */
  read(): void {
    const message = this.#toLeader.shift();
    switch (message?.$case) {
      case 'submit':
        return this.#onSubmit(message.value);
      case 'cancel': {
        const { requestId, attempt, choices } = message.value;
        return this.#cancel(`${requestId}#${attempt}`, choices);
      }
      case 'acknowledge':
        this.#unacknowledged.delete(`${message.value.requestId}#${message.value.attempt}`);
        return;
    }
  }

  /** The leader's oldest message to the router. */
  takeMessage(): LeaderMessage['message'] {
    return this.#toRouter.shift();
  }

  sendStatus(): void {
    const value = { epoch: this.epoch, lastFrame: this.#lastFrame, engine: this.#engine, busLost: false };
    this.#toRouter.push({ $case: 'status', value });
  }

  /** One step: up to two tokens for every choice, into one frame. fails: a choice ends with an error instead. */
  step(fails: boolean): void {
    const entries: FrameEntry[] = [];
    for (const attempt of [...this.#running.values()]) {
      for (const [index, choice] of attempt.choices.entries()) {
        if (!choice.ended) entries.push(this.#advance(attempt, index, choice, fails));
      }
      this.#settle(attempt);
    }
    if (entries.length === 0) return;
    const { group, epoch } = this;
    const sequence = ++this.#lastFrame;
    this.#frames.push({ group, epoch, sequence, step: ++this.#step, routerIncarnation, entries, covers: 0 });
  }

  get #engine(): EngineStatus {
    const running = [...this.#running.values()].flatMap(({ choices }) => choices).filter(({ ended }) => !ended).length;
    return EngineStatus.fromPartial({ step: this.#step, running, freeSequences: Math.max(0, capacity - running) });
  }

  #onSubmit({ requestId, attempt, n, epoch, emitted }: Submit): void {
    const code = epoch === this.epoch ? this.refusal : 'STALE_EPOCH';
    this.refusal = undefined;
    if (code) {
      this.#toRouter.push({ $case: 'refused', value: { requestId, attempt, code, message: 'not here' } });
      return;
    }
    const choices = Array.from({ length: n }, (_, choice) => ({
      text: fullText(requestId, choice),
      position: emitted[choice]?.ids.length ?? 0,
      ended: emitted[choice]?.finished ?? false,
    }));
    this.#running.set(`${requestId}#${attempt}`, { requestId, attempt, choices });
    this.#toRouter.push({ $case: 'accepted', value: { requestId, attempt } });
  }

  #cancel(key: string, choices: readonly number[]): void {
    const attempt = this.#running.get(key);
    if (!attempt) return;
    if (choices.length === 0) {
      this.#running.delete(key);
      return;
    }
    for (const choice of choices) attempt.choices[choice]!.ended = true;
    this.#settle(attempt);
  }

  #settle(attempt: SimulatedAttempt): void {
    if (!attempt.choices.every(({ ended }) => ended)) return;
    const key = `${attempt.requestId}#${attempt.attempt}`;
    if (this.#running.delete(key)) this.#unacknowledged.add(key);
  }

  #advance(owner: SimulatedAttempt, index: number, choice: SimulatedChoice, fails: boolean): FrameEntry {
    const { requestId, attempt } = owner;
    const from = choice.position;
    const name = { requestId, attempt, choice: index, firstPosition: from };
    if (fails) {
      choice.ended = true;
      return FrameEntry.fromPartial({ ...name, errorCode: 'RANK_FAILED', errorMessage: 'a rank is gone' });
    }
    const count = 1 + ((from + index) % 2);
    const text = choice.text.slice(from, from + count);
    choice.position += text.length;
    choice.ended = choice.position === choice.text.length;
    const tokenIds = [...text].map((character) => character.charCodeAt(0));
    const finish = choice.ended ? { finishReason: FinishReason.FINISH_REASON_LENGTH } : {};
    return FrameEntry.fromPartial({ ...name, tokenIds, ...finish });
  }
}
