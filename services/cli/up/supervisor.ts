/**
 * Router, controller and workers as processes of their own, over real etcd and NATS. A process that ends without being
 * told to is started again after a pause: what a pod's restart policy does elsewhere.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import type { Clock } from '#platform/clock.ts';
import { errorCodes, TriremeError } from '#platform/errors.ts';

export interface ProcessPlan {
  readonly name: string;
  /** Entry file, from the root of the checkout. */
  readonly main: string;
  readonly flags: readonly string[];
}

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly restartAfterMs: number;
  /** Every start, with its pid, and every end. */
  readonly onEvent: (line: string) => void;
  /** A process refused its settings, as it would again: no use in starting it once more. */
  readonly onRefused: (error: TriremeError) => void;
}

const root = path.join(import.meta.dirname, '..', '..', '..');
/** A process that has not ended so long after SIGTERM is killed. */
const stopMs = 40_000;

export class Supervisor {
  #stopping = false;
  readonly #options: SupervisorOptions;
  readonly #running = new Map<string, ChildProcess>();
  readonly #restarts = new Map<string, () => void>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  start(plan: ProcessPlan): void {
    const child = spawn(process.execPath, [path.join(root, plan.main), ...plan.flags], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    this.#running.set(plan.name, child);
    this.#options.onEvent(`${plan.name} started, pid ${child.pid}`);
    child.on('exit', (status, signal) => this.#onExit(plan, status, signal ?? `status ${status}`));
  }

  pids(): Readonly<Record<string, number | undefined>> {
    return Object.fromEntries([...this.#running].map(([name, child]) => [name, child.pid]));
  }

  /** Ends them all, the last started first to be told, and waits. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const cancel of this.#restarts.values()) cancel();
    await Promise.all([...this.#running.values()].reverse().map((child) => this.#end(child)));
  }

  #onExit(plan: ProcessPlan, status: number | null, how: string): void {
    this.#running.delete(plan.name);
    if (this.#stopping) return;
    if (status === errorCodes.INVALID_CONFIG.exit) {
      return this.#options.onRefused(
        new TriremeError('INVALID_CONFIG', `${plan.name} cannot run as it is set up`, {
          remedy: 'Its own last line says why',
        }),
      );
    }
    this.#options.onEvent(`${plan.name} ended (${how}), starting again in ${this.#options.restartAfterMs} ms`);
    this.#restarts.set(
      plan.name,
      this.#options.clock.after(this.#options.restartAfterMs, () => this.start(plan)),
    );
  }

  async #end(child: ChildProcess): Promise<void> {
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill('SIGTERM');
    const cancel = this.#options.clock.after(stopMs, () => child.kill('SIGKILL'));
    await exited;
    cancel();
  }
}
