/**
 * The loop of the leader: observe, plan, execute, again whenever the store or a worker says something new, and at least
 * once every probe interval. While the store is away the last state stands, and the loop goes on when it is back.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import type { Store, WatchEvent } from '#platform/store.ts';
import { modelsPrefix, storeRoot } from '#proto/keys.ts';
import { ClusterView } from './cluster-view.ts';
import { type Leadership, pause } from './election.ts';
import { Executor } from './execute.ts';
import { FleetHealth } from './fleet-health.ts';
import { FormationRetries } from './formation-retries.ts';
import { GroupWriter } from './group-writer.ts';
import type { ControllerLimits } from './limits.ts';
import { plan, type Step } from './plan.ts';
import { Prober } from './prober.ts';
import type { WorkerPort } from './worker-port.ts';

export interface ReconcileOptions {
  readonly store: Store;
  readonly workers: WorkerPort;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  readonly limits: ControllerLimits;
}

/** Reconciles until leadership is lost; then nothing runs any more. Errors: broken invariants only. */
export async function reconcile(options: ReconcileOptions, leadership: Leadership): Promise<void> {
  await new Reconciler(options, leadership).run();
}

class Reconciler {
  readonly #options: ReconcileOptions;
  readonly #leadership: Leadership;
  readonly #view: ClusterView;
  readonly #health: FleetHealth;
  readonly #retries: FormationRetries;
  readonly #executor: Executor;
  readonly #prober: Prober;
  readonly #bell = new Bell();
  #synced = false;

  constructor(options: ReconcileOptions, leadership: Leadership) {
    const { store, log, limits } = options;
    const ring = (): void => this.#bell.ring();
    this.#options = options;
    this.#leadership = leadership;
    this.#view = new ClusterView((key, err) => log.error({ key, err }, 'an unusable value in the store'));
    this.#health = new FleetHealth(limits.health);
    this.#retries = new FormationRetries(limits.retries);
    const parts = { ...options, view: this.#view, retries: this.#retries, health: this.#health, lost: leadership.lost };
    const groups = new GroupWriter(store, this.#view, leadership.guard);
    this.#executor = new Executor({ ...parts, groups, onChange: ring });
    this.#prober = new Prober({ ...parts, onFinding: ring });
  }

  async run(): Promise<void> {
    const { store, clock, limits } = this.#options;
    const { lost } = this.#leadership;
    const ring = (): void => this.#bell.ring();
    const watch = store.watch(storeRoot, (event) => this.#onEvent(event));
    const stopTicking = clock.every(limits.probeMs, () => {
      this.#prober.probe();
      ring();
    });
    lost.addEventListener('abort', ring, { once: true });
    try {
      while (!lost.aborted) {
        await this.#bell.rung();
        if (this.#synced && !lost.aborted) await this.#pass();
      }
    } finally {
      stopTicking();
      lost.removeEventListener('abort', ring);
      await watch.close();
    }
    // Not after a broken invariant: what runs beside the loop ends with `lost`, which may be far away then.
    await this.#executor.settled();
    await this.#prober.settled();
  }

  #onEvent(event: WatchEvent): void {
    this.#view.apply(event);
    if (event.kind === 'snapshot') {
      this.#synced = true;
      this.#prober.probe();
    }
    if (event.kind === 'put' && event.entry.key.startsWith(modelsPrefix)) {
      this.#forgetFailures(event.entry.key.slice(modelsPrefix.length));
    }
    this.#bell.ring();
  }

  /** What failed with the old settings says nothing about the new ones. */
  #forgetFailures(model: string): void {
    for (const record of this.#view.groups.values()) if (record.model === model) this.#retries.forget(record.group);
  }

  async #pass(): Promise<void> {
    const { clock, limits, log } = this.#options;
    try {
      for (const step of this.#plan()) await this.#executor.execute(step);
    } catch (error) {
      if (!(error instanceof TriremeError)) throw error;
      log.warn({ err: error }, 'could not write a step; planning again');
      await pause(clock, limits.retryMs, this.#leadership.lost);
      this.#bell.ring();
    }
  }

  #plan(): Step[] {
    const nowMs = this.#options.clock.now();
    const { models, workers, groups } = this.#view;
    const { gone, silent, lost, drainWishes, drained } = this.#health;
    const { forming, ending } = this.#executor;
    const { retryAtMs } = this.#retries;
    const epochOf = (group: string): number => this.#view.epochOf(group);
    this.#health.observe(this.#view, nowMs);
    const found = { gone, silent, lost, drainWishes, drained };
    return plan({ models, workers, groups, epochOf, ...found, forming, ending, retryAtMs, nowMs });
  }
}

/** Rung any number of times, it is answered once. */
class Bell {
  #wasRung = false;
  #answer = (): void => {};

  ring(): void {
    this.#wasRung = true;
    this.#answer();
  }

  /** Resolves when it has been rung since it was last answered. One waits at a time. */
  async rung(): Promise<void> {
    if (!this.#wasRung) {
      await new Promise<void>((resolve) => {
        this.#answer = resolve;
      });
    }
    this.#wasRung = false;
  }
}
