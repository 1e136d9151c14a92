/**
 * An engine that is driven by commands and tells what it does in reports: all of a leader's loop but its rings and its
 * waiting. Pure.
 */
import { unreachable } from '#platform/assert.ts';
import type { EngineAnswer, EngineCommand, EngineReport, EngineSubmit } from '#proto/rank.ts';
import { Engine, type EngineOptions } from '../engine/engine.ts';
import type { SequenceOutput } from '../engine/output.ts';
import { keyOf, toEntry, toRequest } from './engine-messages.ts';

export class CommandedEngine {
  readonly #engine: Engine;
  #answers: EngineAnswer[] = [];
  /** Whoever reads the reports does not know the load as it is now. */
  #hasNews = true;
  #isStopped = false;

  /** Errors: those of Engine. */
  constructor(options: EngineOptions) {
    this.#engine = new Engine(options);
  }

  /** Nothing is in flight. */
  get idle(): boolean {
    return this.#engine.idle;
  }

  /** A stop command has come. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  obey({ command }: EngineCommand): void {
    if (!command) return;
    this.#hasNews = true;
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

  /** The answers to commands and the load since; undefined when the last report has said it all. */
  takeNews(): EngineReport | undefined {
    return this.#hasNews ? this.#report([]) : undefined;
  }

  /** One step of the engine, which is not idle. Errors: those of the runner. */
  step(): EngineReport {
    return this.#report(this.#engine.step().entries);
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

  #report(outputs: readonly SequenceOutput[]): EngineReport {
    const status = this.#engine.status();
    const answers = this.#answers;
    this.#answers = [];
    this.#hasNews = false;
    return { step: status.step, entries: outputs.map(toEntry), answers, status };
  }
}

/** On the wire no choices means all of them. */
function choicesOf(choices: readonly number[]): readonly number[] | undefined {
  return choices.length > 0 ? choices : undefined;
}
