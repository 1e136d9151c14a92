/**
 * The worker process' I/O side, composed: registration and placement in the store, WorkerControl and Worker.Session over
 * gRPC, frames to the bus, teams of ranks behind TeamHost.
 */
import type { Bus } from '#platform/bus.ts';
import type { Clock } from '#platform/clock.ts';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Metrics } from '#platform/metrics.ts';
import type { RandomSource } from '#platform/random.ts';
import { grpcNetwork, type RpcNetwork, type RpcServer } from '#platform/rpc.ts';
import type { Store, Watch } from '#platform/store.ts';
import { frameSubject } from '#proto/keys.ts';
import type { WorkerRecord } from '#proto/records.ts';
import type { WorkerConfig } from './config.ts';
import { controlService } from './control-server.ts';
import { exitAtOnce } from './exit-at-once.ts';
import type { GroupFiles } from './group-files.ts';
import { HeldGroups } from './held-groups.ts';
import { defaultLimits, handoverMs } from './limits.ts';
import { watchPlacement } from './placement-watch.ts';
import { openRankTeams, type RankTeamsOptions } from './rank-teams.ts';
import { Registration } from './registration.ts';
import { sessionService } from './session-server.ts';
import type { TeamHost } from './team-port.ts';
import { WorkerMetrics } from './worker-metrics.ts';

export interface WorkerOptions {
  readonly config: WorkerConfig;
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  /** Default: none are kept. */
  readonly metrics?: Metrics;
  /** Default: rank threads of this process. */
  readonly openTeams?: (options: RankTeamsOptions) => Promise<TeamHost>;
  /** Default: gRPC. */
  readonly network?: RpcNetwork;
  /** Default: those on disk. */
  readonly files?: GroupFiles;
}

export interface RunningWorker {
  /** host:port of the gRPC server. */
  readonly address: string;
  readonly record: WorkerRecord;
  /**
   * Takes no new work, and has the controller drain its groups; resolves when they are gone or nothing runs here, or when
   * config.drain has passed and the controller did not come.
   */
  drain(): Promise<void>;
  /** Ends what still runs with UNAVAILABLE, and everything else. Idempotent. */
  stop(): Promise<void>;
}

/** Errors: PORT_IN_USE, INVALID_CONFIG, STORE_UNAVAILABLE. */
export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { config, random, log, openTeams = openRankTeams } = options;
  const onStuck = (error: TriremeError): void => {
    log.fatal({ code: error.code, reason: error.message }, 'a thread is stuck in native code; leaving at once');
    exitAtOnce(errorCodes[error.code].exit);
  };
  const teams = await openTeams({ listen: config.rankListen, onStuck, log });
  const worker = new Worker(options, teams, { id: config.id ?? random.id(), incarnation: random.id() });
  try {
    await worker.start();
  } catch (error) {
    await worker.stop();
    throw error;
  }
  return worker;
}

class Worker implements RunningWorker {
  #record: WorkerRecord;
  #server: RpcServer | undefined;
  #registration: Registration | undefined;
  #watch: Watch | undefined;
  #stopped: Promise<void> | undefined;
  readonly #groups: HeldGroups;
  readonly #metrics: WorkerMetrics | undefined;
  readonly #teams: TeamHost;
  readonly #options: WorkerOptions;

  constructor(options: WorkerOptions, teams: TeamHost, { id, incarnation }: { id: string; incarnation: string }) {
    const { config, bus, clock, log, metrics, files } = options;
    const { rankCapacity, memory: memoryBytes } = config;
    this.#options = options;
    this.#teams = teams;
    const rankAddress = advertised(teams.rankAddress, config);
    this.#record = { id, incarnation, address: '', rankAddress, rankCapacity, memoryBytes };
    this.#groups = new HeldGroups({
      workerId: id,
      workerIncarnation: incarnation,
      rankCapacity,
      teams,
      limits: defaultLimits,
      clock,
      log,
      publish: (router, frame) => bus.publish(frameSubject(router), frame),
      isBusLost: () => !bus.connected,
      onStep: (figures) => this.#metrics?.onStep(figures),
      ...(files ? { files } : {}),
    });
    bus.onConnection(() => this.#groups.onBus());
    this.#metrics = metrics && new WorkerMetrics(metrics, () => this.#groups.load);
  }

  get address(): string {
    return this.#record.address;
  }

  get record(): WorkerRecord {
    return this.#record;
  }

  async start(): Promise<void> {
    const { config, store, clock, log, network = grpcNetwork } = this.#options;
    const groups = this.#groups;
    this.#server = await network.serve({
      listen: config.listen,
      services: [
        controlService({ groups, worker: () => this.#record, drain: (limitMs) => this.#setDrain(limitMs) }),
        sessionService({ groups, limits: defaultLimits, clock }),
      ],
      log,
    });
    this.#record = { ...this.#record, address: advertised(this.#server.address, config) };
    this.#watch = watchPlacement(store, (record) => groups.onPlacement(record));
    this.#registration = new Registration({ store, record: this.#record, leaseTtlMs: config.leaseTtl, clock, log });
    await this.#registration.start();
    const { id, incarnation, address, rankAddress } = this.#record;
    log.info({ id, incarnation, address, rankAddress }, 'the worker is registered');
  }

  async drain(): Promise<void> {
    const { clock, config, log } = this.#options;
    this.#setDrain(config.drain);
    const ended = new AbortController();
    const late = clock.sleep(config.drain + handoverMs, ended.signal).then(
      () => log.warn({ drainMs: config.drain }, 'requests still run at the end of the drain'),
      () => {}, // The requests ended before.
    );
    await Promise.race([this.#groups.quiet(), late]);
    ended.abort();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** undefined: it may be given work again. The store learns of it when it can. */
  #setDrain(drainMs: number | undefined): void {
    this.#record = { ...this.#record, drainMs };
    this.#server?.setServing(drainMs === undefined);
    if (drainMs === undefined) this.#groups.undrain();
    else this.#groups.drain(drainMs);
    this.#options.log.info({ drainMs }, drainMs === undefined ? 'the drain is undone' : 'the worker drains');
    void this.#registration?.update(this.#record);
  }

  /** Sessions and attempts first, so that routers hear a reason, then the lease; what the ranks need last. */
  async #stop(): Promise<void> {
    await this.#watch?.close();
    await this.#groups.stop(new TriremeError('UNAVAILABLE', `worker ${this.#record.id} stops`));
    await this.#registration?.release();
    await this.#server?.stop();
    await this.#teams.close();
  }
}

/** The bound address with the host by which others reach it. */
function advertised(address: string, { advertiseHost }: WorkerConfig): string {
  return advertiseHost ? `${advertiseHost}${address.slice(address.lastIndexOf(':'))}` : address;
}
