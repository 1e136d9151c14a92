/** Asks the workers what they hold, feeds FleetHealth with the answers, and ends teams that nobody placed. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { ClusterView } from './cluster-view.ts';
import type { FleetHealth, ProbeTarget, StrayTeam } from './fleet-health.ts';
import { formationId } from './group.ts';
import type { ControllerLimits } from './limits.ts';
import type { WorkerPort } from './worker-port.ts';

export interface ProberOptions {
  readonly workers: WorkerPort;
  readonly view: ClusterView;
  readonly health: FleetHealth;
  readonly clock: Clock;
  readonly log: Logger;
  readonly limits: ControllerLimits;
  /** Aborts when this controller no longer leads. */
  readonly lost: AbortSignal;
  /** Something was learnt that may call for a step. */
  onFinding(): void;
}

export class Prober {
  readonly #options: ProberOptions;
  /** By incarnation: at most one question at a time to each. */
  readonly #asking = new Map<string, Promise<void>>();
  /** By incarnation and formation: teams that are being ended. */
  readonly #ending = new Map<string, Promise<void>>();

  constructor(options: ProberOptions) {
    this.#options = options;
  }

  /** Asks every worker that does not owe an answer. Returns at once. */
  probe(): void {
    for (const target of this.#options.health.targets(this.#options.view)) {
      const { incarnation } = target;
      if (this.#asking.has(incarnation)) continue;
      this.#asking.set(
        incarnation,
        this.#ask(target).finally(() => this.#asking.delete(incarnation)),
      );
    }
  }

  /** Resolves when nothing is being asked or ended any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#asking.values());
    await Promise.all(this.#ending.values());
  }

  async #ask(target: ProbeTarget): Promise<void> {
    const { workers, view, health, clock, limits, lost: signal, onFinding } = this.#options;
    const question = workers.describe(target.address, { timeoutMs: limits.probeTimeoutMs, signal });
    const answer = await question.catch(TriremeError.from);
    if (signal.aborted) return;
    const before = health.findingCount;
    if (answer instanceof TriremeError) {
      if (answer.code === 'UNAVAILABLE') health.onUnreachable(target);
      else health.onUnanswered(target);
    }
    const strays = answer instanceof TriremeError ? [] : health.onAnswer(target, answer, view, clock.now());
    if (health.findingCount !== before) onFinding();
    for (const stray of strays) this.#end(target, stray);
  }

  #end({ worker, address, incarnation }: ProbeTarget, stray: StrayTeam): void {
    const { workers, log, limits, lost: signal } = this.#options;
    const id = `${incarnation} ${formationId(stray)}`;
    if (this.#ending.has(id)) return;
    log.info({ worker, ...stray }, 'ending a team that has no place');
    const ending = workers
      .disband(address, stray, { timeoutMs: limits.disbandTimeoutMs, signal })
      .catch((error: unknown) => {
        // The next answer shows the team again if it still stands.
        log.warn({ worker, ...stray, err: TriremeError.from(error) }, 'could not end a team');
      });
    this.#ending.set(
      id,
      ending.finally(() => this.#ending.delete(id)),
    );
  }
}
