/** A team that serves: its ranks, and in the process of rank 0 the two rings by which the engine is reached. */
import { setImmediate } from 'node:timers/promises';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { EngineCommand, EngineReport } from '#proto/rank.ts';
import type { AdapterMemory } from '../adapters/adapter-memory.ts';
import type { LeaderLoopData } from './leader-loop.ts';
import { RankTeam } from './rank-team.ts';
import { Ring } from './ring.ts';
import type { StartTeam, Team, TeamEvents, TeamOptions } from './team-port.ts';

/**
 * A prompt of 400,000 tokens and its emitted ones fit. A longer command: MESSAGE_TOO_LARGE. A full ring: send() says no.
 */
const commandRingBytes = 2 << 20;
export const commandBytesMax = commandRingBytes - 4;
/** A step of a thousand sequences with the log-probabilities of twenty tokens each fits. A full ring: rank 0 waits. */
const reportRingBytes = 1 << 20;
/** Reports that are handed on before other events of this thread get their turn. */
const reportsAtOnce = 32;

export const startTeam: StartTeam = async (options) => {
  const team = new ServingTeam(options);
  await team.start(options);
  return team;
};

class ServingTeam implements Team {
  readonly #events: TeamEvents;
  readonly #commands = Ring.create(commandRingBytes);
  readonly #reports = Ring.create(reportRingBytes);
  readonly #leads: boolean;
  readonly #log: Logger;
  #team: RankTeam | undefined;
  #isOver = false;

  constructor({ events, localRanks, log }: TeamOptions) {
    this.#events = events;
    this.#log = log.component('team');
    this.#leads = localRanks.includes(0);
  }

  async start({ events, log: _log, ...options }: TeamOptions): Promise<void> {
    const { onProgress, onStuck } = events;
    const data: LeaderLoopData = { commands: this.#commands.buffer, reports: this.#reports.buffer };
    const job = { module: new URL('./leader-loop.ts', import.meta.url).href, data };
    const onOver = (error: TriremeError | undefined): void => this.#onOver(error);
    void this.#readReports();
    try {
      this.#team = await RankTeam.start({
        ...options,
        job,
        events: { onProgress, onStuck, onOver, onResult: () => {} },
      });
    } catch (error) {
      this.#closeRings();
      throw error;
    }
    this.#log.info({ ranks: options.localRanks, of: options.ranks, package: options.packagePath }, 'ranks are warm');
  }

  get adapters(): ReadonlyMap<number, AdapterMemory> {
    return this.#team?.adapters ?? new Map();
  }

  send(command: EngineCommand): boolean {
    return !this.#isOver && this.#commands.tryWrite(EngineCommand.encode(command).finish());
  }

  abort(reason: string): void {
    this.#team?.abort(reason);
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    // The leader ends the group when its commands end. Elsewhere there is nobody to ask.
    await this.#team?.end(this.#leads ? () => this.#commands.close() : undefined);
    this.#closeRings();
  }

  #onOver(error: TriremeError | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#closeRings();
    const message = error?.message ?? 'rank 0 has ended the group';
    this.#log.warn({ reason: message }, 'ranks are over');
    this.#events.onExit(new TriremeError('RANK_FAILED', message, error ? { cause: error } : {}));
  }

  async #readReports(): Promise<void> {
    for (let atOnce = 1; ; atOnce++) {
      // Closed is looked at first: what was written before still counts.
      const { closed } = this.#reports;
      const bytes = this.#reports.read();
      if (bytes) this.#events.onReport(EngineReport.decode(bytes));
      else if (closed) return;
      else await this.#reports.readable();
      if (atOnce % reportsAtOnce === 0) await setImmediate();
    }
  }

  /** Wakes whoever reads or writes. */
  #closeRings(): void {
    this.#commands.close();
    this.#reports.close();
  }
}
