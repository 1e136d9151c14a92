/**
 * The ranks of this process in one formation of a group: a thread each, the memory in which they meet, the mirror to other
 * processes. However a rank ends, the others wake, and the owner hears of it once.
 *
 *   starting -> running -> over -> ending        starting -> ending        running -> ending
 *
 * starting  verify, load, join, warm up. Left when warm, or when any of it fails.
 * running   the ranks compute. Left when they are done or one fails, here or elsewhere, and by end().
 * over      the owner has been told. Left by end().
 * ending    until every thread is gone. Not left: a team runs once.
 */
import { TriremeError } from '#platform/errors.ts';
import { FormStage } from '#proto/control.ts';
import type { ServingSettings } from '#proto/records.ts';
import { type AdapterCapacity, AdapterMemory } from '../adapters/adapter-memory.ts';
import { TcpMirror } from '../collectives/tcp-mirror.ts';
import { TeamMemory } from '../collectives/team-memory.ts';
import type { Manifest } from '../models/manifest.ts';
import { returnFreedMemory, useHugePages } from '../runtime/process-memory.ts';
import { readManifest, shardFor, verifyRankFiles } from './package.ts';
import { RankHandle } from './rank-handle.ts';
import type { LeaderJob } from './rank-messages.ts';
import type { TeamEvents, TeamOptions } from './team-port.ts';

/** How long ranks may take to come to an end when asked, and then when aborted and their runs terminated. */
const stopTimeoutMs = 10_000;
const abortTimeoutMs = 10_000;
/** Default for the other processes to load and join. */
const joinTimeoutMs = 600_000;
/** A slice of the team's memory holds the rows of a step, within these bounds. */
const partBytesMin = 64 << 10;
const partBytesMax = 4 << 20;

/** What a processor's page tables' cache covers by itself; smaller weights gain nothing from huge pages. */
const hugePageWeightsMin = 64 << 20;

export interface RankTeamEvents extends Pick<TeamEvents, 'onProgress' | 'onStuck'> {
  /** What the leader's job has posted. */
  onResult(value: unknown): void;
  /** At most once, unless end() was called: all ranks here are done, or the group computes no more. */
  onOver(error: TriremeError | undefined): void;
}

export interface RankTeamOptions extends Omit<TeamOptions, 'events' | 'log'> {
  /** For rank 0, where it is local. */
  readonly job?: LeaderJob;
  readonly events: RankTeamEvents;
}

export class RankTeam {
  readonly #options: RankTeamOptions;
  /** Of the ranks in this process. */
  readonly #weightBytes: number;
  readonly #memory: TeamMemory;
  readonly #start = new SharedArrayBuffer(4);
  readonly #handles: readonly RankHandle[];
  readonly #adapters = new Map<number, AdapterMemory>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #pieces = new Map<number, { readonly opened: number; readonly total: number }>();
  #state: 'starting' | 'running' | 'over' | 'ending' = 'starting';
  #finishedRanks = 0;
  #mirror: TcpMirror | undefined;
  #ended: Promise<void> | undefined;

  private constructor(options: RankTeamOptions, manifest: Manifest) {
    this.#options = options;
    const { serving, ranks, localRanks, packagePath, runtimeLibrary, job } = options;
    this.#weightBytes = localRanks.reduce((sum, rank) => sum + shardFor(manifest, rank, ranks).weightBytes, 0);
    const rowBytes = 4 * manifest.spec.hiddenSize;
    const partBytes = Math.max(partBytesMin, Math.min(rowBytes * serving.stepTokens, partBytesMax));
    this.#memory = TeamMemory.create(ranks, partBytes);
    // Nobody may be listening when the team fails.
    this.#failed.promise.catch(() => {});
    const shared = { packagePath, ranks, memory: this.#memory.buffer, start: this.#start, serving, runtimeLibrary };
    const capacity = capacityOf(serving);
    this.#handles = localRanks.map((rank) => {
      const memory = capacity && AdapterMemory.create(shardFor(manifest, rank, ranks), capacity);
      if (memory) this.#adapters.set(rank, memory);
      const adapters = memory && { capacity: memory.capacity, buffer: memory.buffer };
      return new RankHandle({ ...shared, rank, adapters, job: rank === 0 ? job : undefined }, this.#events());
    });
    void this.#watchAbort();
  }

  /** See StartTeam for what it does and its errors. */
  static async start(options: RankTeamOptions): Promise<RankTeam> {
    const { packagePath, localRanks, ranks, signal, events } = options;
    signal?.throwIfAborted();
    const manifest = readManifest(packagePath);
    for (const rank of localRanks) shardFor(manifest, rank, ranks);
    await verifyRankFiles({
      folder: packagePath,
      manifest,
      ranks: localRanks,
      onProgress: (done, total) => events.onProgress({ stage: FormStage.FORM_STAGE_VERIFYING, done, total }),
      ...(signal ? { signal } : {}),
    });
    const team = new RankTeam(options, manifest);
    try {
      await team.#becomeRunning();
    } catch (error) {
      team.abort(TriremeError.from(error).message);
      await team.end();
      throw signal?.aborted ? signal.reason : team.#rootOf(error);
    }
    return team;
  }

  /** Of the ranks in this process; empty where requests have no adapters. */
  get adapters(): ReadonlyMap<number, AdapterMemory> {
    return this.#adapters;
  }

  /** Ends every rank of the group, in other processes too; onOver follows. */
  abort(reason: string): void {
    this.#memory.abort(reason);
  }

  /**
   * `ask` makes the ranks come to an end by themselves; without it they are aborted. Resolves when their threads are gone,
   * or after onStuck. Idempotent.
   */
  end(ask?: () => void): Promise<void> {
    this.#ended ??= this.#becomeEnding(ask ?? (() => this.abort('the worker has ended its ranks')));
    return this.#ended;
  }

  #events(): ConstructorParameters<typeof RankHandle>[1] {
    return {
      onLoading: (rank, opened, total) => this.#onLoading(rank, opened, total),
      onResult: (value) => this.#options.events.onResult(value),
      onFinished: () => {
        this.#finishedRanks++;
        if (this.#isFinished) this.#becomeOver(undefined);
      },
      onFailure: (_rank, error) => this.#fail(error),
    };
  }

  async #becomeRunning(): Promise<void> {
    const { events, signal } = this.#options;
    const onAbort = (): void => this.#failed.reject(signal?.reason);
    signal?.addEventListener('abort', onAbort);
    if (signal?.aborted) onAbort();
    try {
      const total = this.#handles.length;
      await this.#unlessFailed(Promise.all(this.#handles.map(({ loaded }) => loaded)));
      if (this.#weightBytes >= hugePageWeightsMin) await this.#unlessFailed(useHugePages(signal));
      events.onProgress({ stage: FormStage.FORM_STAGE_JOINING, done: total, total });
      await this.#join();
      const word = new Int32Array(this.#start);
      Atomics.store(word, 0, 1);
      Atomics.notify(word, 0);
      await this.#unlessFailed(Promise.all(this.#handles.map(({ warm }) => warm)));
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
    this.#state = 'running';
    // The job may have been done before this thread looked.
    if (this.#isFinished) this.#becomeOver(undefined);
  }

  /** Every rank here has done all it was told to do. */
  get #isFinished(): boolean {
    return this.#finishedRanks === this.#handles.length;
  }

  #becomeOver(error: TriremeError | undefined): void {
    if (this.#state !== 'running') return;
    this.#state = 'over';
    this.#options.events.onOver(error);
  }

  async #becomeEnding(ask: () => void): Promise<void> {
    this.#state = 'ending';
    if (!this.#memory.aborted && !this.#isFinished) ask();
    const ended = Promise.all(this.#handles.map((handle) => handle.ended));
    if (!(await isWithin(ended, stopTimeoutMs))) {
      this.abort('the ranks did not end when asked');
      for (const handle of this.#handles) handle.terminateRuns();
      if (!(await isWithin(ended, abortTimeoutMs))) return this.#reportStuck();
    }
    await this.#mirror?.close();
    // Ends whatever still watches the memory.
    this.abort('the team has ended');
    returnFreedMemory();
  }

  async #join(): Promise<void> {
    const { remote, localRanks, signal } = this.#options;
    if (!remote) return;
    const { gate, group, epoch, secret, addresses, joinTimeoutMs: timeoutMs = joinTimeoutMs } = remote;
    const formation = { gate, group, epoch, secret, addresses, localRanks, timeoutMs };
    this.#mirror = await TcpMirror.join({ ...formation, memory: this.#memory, ...(signal ? { signal } : {}) });
  }

  #unlessFailed<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#failed.promise]);
  }

  #fail(error: TriremeError): void {
    this.abort(error.message);
    this.#failed.reject(error);
    this.#becomeOver(error);
  }

  /** An abort that comes from another process, or from a rank that has no time for a message. */
  async #watchAbort(): Promise<void> {
    const memory = this.#memory;
    while (!memory.aborted) {
      const wait = Atomics.waitAsync(memory.words, memory.abortIndex, 0);
      if (wait.async) await wait.value;
    }
    this.#fail(new TriremeError('RANK_FAILED', memory.abortReason));
  }

  /** Ranks that were only pulled along say RANK_FAILED; the one that fell first has another code. */
  #rootOf(error: unknown): unknown {
    const failures = this.#handles.flatMap(({ failure }) => (failure ? [failure] : []));
    return failures.find(({ code }) => code !== 'RANK_FAILED') ?? error;
  }

  #onLoading(rank: number, opened: number, total: number): void {
    this.#pieces.set(rank, { opened, total });
    const all = [...this.#pieces.values()];
    this.#options.events.onProgress({
      stage: FormStage.FORM_STAGE_LOADING,
      done: all.reduce((sum, piece) => sum + piece.opened, 0),
      total: all.reduce((sum, piece) => sum + piece.total, 0),
    });
  }

  #reportStuck(): void {
    const ranks = this.#handles.filter(({ isGone }) => !isGone).map(({ rank }) => rank);
    const message = `rank ${ranks.join(', ')} did not return within ${stopTimeoutMs + abortTimeoutMs} ms`;
    this.#options.events.onStuck(new TriremeError('RANK_FAILED', message, { remedy: 'The process must exit' }));
  }
}

/** undefined: none. */
function capacityOf({ adapters }: ServingSettings): AdapterCapacity | undefined {
  return adapters && { places: adapters.places, rank: adapters.rank };
}

async function isWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  const result = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return result;
}
