/** Fake workers behind WorkerPort without a network, on the test's clock: they can be killed and frozen. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { DescribeResponse, FormProgress, FormRequest } from '#proto/control.ts';
import type { FakeWorker } from './fake-worker.ts';

type Question = { timeoutMs: number; signal: AbortSignal };

export class FakeFleet {
  /** By address: processes that run. */
  readonly #processes = new Map<string, { worker: FakeWorker; killed: AbortController; frozen: boolean }>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  start(worker: FakeWorker): void {
    this.#processes.set(worker.record.address, { worker, killed: new AbortController(), frozen: false });
  }

  kill(address: string): void {
    this.#processes.get(address)?.killed.abort(noConnection(address));
    this.#processes.delete(address);
  }

  /** A frozen process keeps its connections and answers nothing. */
  freeze(address: string, frozen: boolean): void {
    const process = this.#processes.get(address);
    if (process) process.frozen = frozen;
  }

  async form(
    address: string,
    request: FormRequest,
    onProgress: (progress: FormProgress) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { worker, killed } = this.#reach(address);
    const until = AbortSignal.any([signal, killed.signal]);
    const turn = async (progress: FormProgress): Promise<void> => {
      onProgress(progress);
      await this.#clock.sleep(formStageMs, until);
    };
    await worker.form(request, turn, until);
  }

  async disband(address: string, { group, epoch }: { group: string; epoch: number }, options: Question): Promise<void> {
    const { worker } = await this.#ask(address, options);
    worker.disband(group, epoch);
  }

  async describe(address: string, options: Question): Promise<DescribeResponse> {
    const { worker } = await this.#ask(address, options);
    return worker.describe();
  }

  close(): void {}

  #reach(address: string) {
    const process = this.#processes.get(address);
    if (!process) throw noConnection(address);
    return process;
  }

  async #ask(address: string, { timeoutMs, signal }: Question) {
    const process = this.#reach(address);
    if (!process.frozen) return process;
    await this.#clock.sleep(timeoutMs, AbortSignal.any([process.killed.signal, signal]));
    throw new TriremeError('DEADLINE_EXCEEDED', `no answer from ${address} in time`);
  }
}

/** Each stage of a formation takes so long. */
const formStageMs = 50;

function noConnection(address: string): TriremeError {
  return new TriremeError('UNAVAILABLE', `no connection to ${address}`);
}
