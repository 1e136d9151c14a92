/**
 * Rank 0 of a group that serves: takes commands, steps the engine, reports; sleeps on the ring of commands while nothing is
 * in flight. The one place where the engine meets the rings.
 */
import { unreachable } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import { type EngineAnswer, EngineCommand, EngineReport, type EngineSubmit } from '#proto/rank.ts';
import { Engine } from '../engine/engine.ts';
import type { SequenceOutput } from '../engine/output.ts';
import { keyOf, toEntry, toRequest } from './engine-messages.ts';
import type { RankContext } from './rank-context.ts';
import type { RunLeader } from './rank-messages.ts';
import { Ring } from './ring.ts';

/** Buffers of the two rings. */
export interface LeaderLoopData {
  readonly commands: SharedArrayBuffer;
  readonly reports: SharedArrayBuffer;
}

/** An idle leader looks this often whether its team still is. */
const napMs = 100;
/** How long the main thread may leave no room for a report; beyond it the rank fails. */
const reportTimeoutMs = 30_000;

export const runLeader: RunLeader = (context: RankContext, data: LeaderLoopData) => {
  new LeaderLoop(context, data).run();
};

class LeaderLoop {
  readonly #context: RankContext;
  readonly #engine: Engine;
  readonly #commands: Ring;
  readonly #reports: Ring;
  #answers: EngineAnswer[] = [];
  /** The main thread does not know the load as it is now. */
  #isNews = true;
  #isStopped = false;

  constructor(context: RankContext, { commands, reports }: LeaderLoopData) {
    const { runner, serving: settings, manifest } = context;
    this.#context = context;
    this.#engine = new Engine({ runner, settings, endTokens: manifest.endTokens });
    this.#commands = Ring.attach(commands);
    this.#reports = Ring.attach(reports);
  }

  /** Until a stop command, or until the ring of commands is closed. Errors: those of the runner, RANK_FAILED. */
  run(): void {
    for (;;) {
      this.#takeCommands();
      this.#context.checkAbort();
      if (this.#isNews) this.#report([]);
      if (this.#isStopped) return;
      if (this.#engine.idle) this.#commands.waitReadable(napMs);
      else this.#report(this.#engine.step().entries);
    }
  }

  #takeCommands(): void {
    // Closed is looked at first: what was sent before still counts.
    const { closed } = this.#commands;
    for (let bytes = this.#commands.read(); bytes; bytes = this.#commands.read()) {
      const { command } = EngineCommand.decode(bytes);
      if (command) this.#obey(command);
    }
    this.#isStopped ||= closed;
  }

  #obey(command: NonNullable<EngineCommand['command']>): void {
    this.#isNews = true;
    switch (command.$case) {
      case 'submit':
        return this.#submit(command.value);
      case 'cancel':
        return this.#engine.cancel(keyOf(command.value), choicesOf(command.value.choices));
      case 'stop':
        this.#isStopped = true;
        return;
      default:
        unreachable(command);
    }
  }

  #submit(command: EngineSubmit): void {
    const request = toRequest(command);
    if (!request || !command.submit) return;
    const outcome = this.#engine.submit(request);
    const { requestId, attempt } = command.submit;
    const refusal = outcome.kind === 'refused' ? outcome : { code: '', message: '' };
    const { code: refusalCode, message: refusalMessage } = refusal;
    this.#answers.push({ owner: command.owner, requestId, attempt, refusalCode, refusalMessage });
  }

  #report(outputs: readonly SequenceOutput[]): void {
    const status = this.#engine.status();
    const report = { step: status.step, entries: outputs.map(toEntry), answers: this.#answers, status };
    if (!this.#reports.write(EngineReport.encode(report).finish(), reportTimeoutMs)) {
      throw new TriremeError('RANK_FAILED', `the worker took no report for ${reportTimeoutMs} ms`);
    }
    this.#answers = [];
    this.#isNews = false;
  }
}

/** On the wire no choices means all of them. */
function choicesOf(choices: readonly number[]): readonly number[] | undefined {
  return choices.length > 0 ? choices : undefined;
}
