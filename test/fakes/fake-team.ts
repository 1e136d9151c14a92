/** Teams without ranks: every formation is warm when the test says so, commands are noted, reports are what the test sends. */
import { TriremeError } from '#platform/errors.ts';
import { FormStage } from '#proto/control.ts';
import { type EngineCommand, EngineReport, type EngineSubmit } from '#proto/rank.ts';
import type { Team } from '../../workers/rank/team-port.ts';
import type { FormationEvents, TeamFormation, TeamHost } from '../../workers/worker/team-port.ts';

type DeepPartial<T> = T extends object ? { [K in keyof T]?: DeepPartial<T[K]> } : T;

export class FakeTeam implements Team {
  readonly formation: TeamFormation;
  readonly events: FormationEvents;
  readonly commands: EngineCommand[] = [];
  readonly adapters = new Map();
  /** Commands that the ring has room for. */
  room = Number.POSITIVE_INFINITY;
  stopCount = 0;
  /** stop() resolves when this does. */
  threadsEnd: Promise<void> = Promise.resolve();
  readonly #warm = Promise.withResolvers<void>();
  #waiting: (() => void)[] = [];

  constructor(formation: TeamFormation, events: FormationEvents) {
    this.formation = formation;
    this.events = events;
  }

  get submits(): EngineSubmit[] {
    return this.commands.flatMap(({ command }) => (command?.$case === 'submit' ? [command.value] : []));
  }

  get cancelled(): string[] {
    return this.commands.flatMap(({ command }) => (command?.$case === 'cancel' ? [command.value.requestId] : []));
  }

  send(command: EngineCommand): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.commands.push(command);
    for (const wake of this.#waiting.splice(0)) wake();
    return true;
  }

  /** Resolves when so many commands have come. */
  async commandsAtLeast(count: number): Promise<void> {
    while (this.commands.length < count) {
      const more = Promise.withResolvers<void>();
      this.#waiting.push(more.resolve);
      await more.promise;
    }
  }

  report(report: DeepPartial<EngineReport>): void {
    this.events.onReport(EngineReport.fromPartial(report as Parameters<typeof EngineReport.fromPartial>[0]));
  }

  warm(): void {
    this.#warm.resolve();
  }

  async becomeWarm(signal: AbortSignal): Promise<void> {
    this.events.onProgress({ stage: FormStage.FORM_STAGE_LOADING, done: 1, total: 2 });
    this.events.onProgress({ stage: FormStage.FORM_STAGE_JOINING, done: 0, total: 0 });
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort);
    try {
      await Promise.race([this.#warm.promise, aborted.promise]);
    } catch (error) {
      await this.stop();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  exit(message: string): void {
    this.events.onExit(new TriremeError('RANK_FAILED', message));
  }

  abort(reason: string): void {
    this.exit(reason);
  }

  async stop(): Promise<void> {
    this.stopCount++;
    await this.threadsEnd;
  }
}

export class FakeTeams implements TeamHost {
  readonly rankAddress = '127.0.0.1:7';
  readonly teams: FakeTeam[] = [];
  /** Formations become warm at once. */
  warmAtOnce = true;
  closed = false;

  get last(): FakeTeam {
    const team = this.teams.at(-1);
    if (!team) throw new Error('no team was started');
    return team;
  }

  async start(formation: TeamFormation, events: FormationEvents, signal: AbortSignal): Promise<Team> {
    const team = new FakeTeam(formation, events);
    this.teams.push(team);
    if (this.warmAtOnce) team.warm();
    await team.becomeWarm(signal);
    return team;
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}
