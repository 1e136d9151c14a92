/**
 * The way to rank 0's engine when its ring may be full: a submit is then refused, a cancel waits, because it must not be
 * lost. At most one cancel waits per running choice, since a choice is cancelled once.
 */
import type { EngineCancel, EngineCommand } from '#proto/rank.ts';
import type { Submit } from '#proto/worker.ts';

export class CommandOutbox {
  readonly #send: (command: EngineCommand) => boolean;
  #waiting: EngineCommand[] = [];

  /** `send` puts a command in the ring; false when it is full. */
  constructor(send: (command: EngineCommand) => boolean) {
    this.#send = send;
  }

  /** `adapter` is the place of the one that it names. False: no room in the ring now. Errors: MESSAGE_TOO_LARGE for what never fits. */
  submit(owner: number, submit: Submit, adapter?: number): boolean {
    const value = { owner, submit, adapter };
    return this.#waiting.length === 0 && this.#send({ command: { $case: 'submit', value } });
  }

  cancel(cancel: EngineCancel): void {
    this.#waiting.push({ command: { $case: 'cancel', value: cancel } });
    this.flush();
  }

  /** Sends what waits, as far as there is room. Called whenever the engine has read. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    const full = this.#waiting.findIndex((command) => !this.#send(command));
    this.#waiting = full < 0 ? [] : this.#waiting.slice(full);
  }
}
