/**
 * Rank 0 of a group that serves: takes commands, steps the engine, reports; sleeps on the ring of commands while nothing is
 * in flight. The one place where the engine meets the rings.
 */
import { TriremeError } from '#platform/errors.ts';
import { EngineCommand, EngineReport } from '#proto/rank.ts';
import { CommandedEngine } from './commanded-engine.ts';
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
  readonly #engine: CommandedEngine;
  readonly #commands: Ring;
  readonly #reports: Ring;
  #isClosed = false;

  constructor(context: RankContext, { commands, reports }: LeaderLoopData) {
    const { runner, serving: settings, manifest } = context;
    this.#context = context;
    this.#engine = new CommandedEngine({ runner, settings, endTokens: manifest.endTokens });
    this.#commands = Ring.attach(commands);
    this.#reports = Ring.attach(reports);
  }

  /** Until a stop command, or until the ring of commands is closed. Errors: those of the runner, RANK_FAILED. */
  run(): void {
    for (;;) {
      this.#takeCommands();
      this.#context.checkAbort();
      const news = this.#engine.takeNews();
      if (news) this.#write(news);
      if (this.#isClosed || this.#engine.isStopped) return;
      if (this.#engine.idle) this.#commands.waitReadable(napMs);
      else this.#write(this.#engine.step());
    }
  }

  #takeCommands(): void {
    // Closed is looked at first: what was sent before still counts.
    this.#isClosed = this.#commands.closed;
    for (let bytes = this.#commands.read(); bytes; bytes = this.#commands.read()) {
      this.#engine.obey(EngineCommand.decode(bytes));
    }
  }

  #write(report: EngineReport): void {
    if (this.#reports.write(EngineReport.encode(report).finish(), reportTimeoutMs)) return;
    throw new TriremeError('RANK_FAILED', `the worker took no report for ${reportTimeoutMs} ms`);
  }
}
