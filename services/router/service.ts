/** The router process, composed: fleet from the store, sessions to leaders, frames from the bus, gRPC for clients. */
import { readFile } from 'node:fs/promises';
import type { Bus, Subscription } from '#platform/bus.ts';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Metrics } from '#platform/metrics.ts';
import type { RandomSource } from '#platform/random.ts';
import { type Dial, grpcNetwork, type RpcNetwork, type RpcServer } from '#platform/rpc.ts';
import type { Store, Watch, WatchEvent } from '#platform/store.ts';
import { type DrainRequest, WorkerControlService } from '#proto/control.ts';
import { frameSubject, storeRoot } from '#proto/keys.ts';
import type { DrainStarted, DrainTarget } from '#proto/operations.ts';
import { Frame } from '#proto/worker.ts';
import type { RouterConfig } from './config.ts';
import { drain } from './drain.ts';
import { inferenceService, operationsService } from './edge-grpc.ts';
import { Fleet } from './fleet.ts';
import { FrontDoor, leaving } from './front-door.ts';
import { exposeRouter } from './metrics.ts';
import { ModelCatalog, type ReadModel } from './model-catalog.ts';
import { LeastLoaded } from './policies/least-loaded.ts';
import { RoundRobin } from './policies/round-robin.ts';
import { listModels, statusOf } from './report.ts';
import { Router, tickMs } from './router.ts';
import { SessionManager } from './session-manager.ts';

/** The protos as reflection serves them; `npm run gen` writes it. */
const descriptorFile = new URL('../../proto/descriptors.binpb', import.meta.url);

export interface StartRouterOptions {
  readonly config: RouterConfig;
  readonly store: Store;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  /** Where the router's figures are to appear; default: nowhere. */
  readonly metrics?: Metrics;
  /** Default: gRPC. */
  readonly network?: RpcNetwork;
  /** What reflection serves; default: what `npm run gen` wrote. */
  readonly descriptorSet?: Uint8Array;
  /** Default: from the package. */
  readonly readModel?: ReadModel;
}

export interface RunningRouter {
  /** host:port where clients connect. */
  readonly address: string;
  readonly incarnation: string;
  /**
   * Takes no new requests; resolves when the running ones have ended. Those that have not after config.drain end with
   * UNAVAILABLE, and their clients go on at another router.
   */
  drain(): Promise<void>;
  /** Ends what still runs with UNAVAILABLE, and everything else. Idempotent. */
  stop(): Promise<void>;
}

/** What a worker may take to answer. */
const drainAnswerMs = 5000;

const policies = { 'least-loaded': LeastLoaded, 'round-robin': RoundRobin };

/** Errors: PORT_IN_USE, INVALID_CONFIG, STORE_UNAVAILABLE, BUS_UNAVAILABLE. */
export async function startRouter(options: StartRouterOptions): Promise<RunningRouter> {
  const descriptorSet = options.descriptorSet ?? (await readFile(descriptorFile));
  const router = new RouterProcess(options);
  try {
    await router.start(descriptorSet);
  } catch (error) {
    await router.stop();
    throw error;
  }
  return router;
}

class RouterProcess implements RunningRouter {
  readonly incarnation: string;
  #isServing = false;
  #server: RpcServer | undefined;
  #watch: Watch | undefined;
  #frames: Subscription | undefined;
  #stopTicking: () => void = () => {};
  #cancelDrainLimit: () => void = () => {};
  #stopped: Promise<void> | undefined;
  readonly #fleet = new Fleet();
  readonly #catalog: ModelCatalog;
  readonly #door: FrontDoor;
  readonly #router: Router;
  readonly #sessions: SessionManager;
  readonly #network: RpcNetwork;
  readonly #options: StartRouterOptions;

  constructor(options: StartRouterOptions) {
    const { config, clock, random, log, network = grpcNetwork, readModel } = options;
    const fleet = this.#fleet;
    this.#options = options;
    this.#network = network;
    this.incarnation = random.id();
    this.#catalog = new ModelCatalog({ fleet, clock, log, ...(readModel ? { read: readModel } : {}) });
    const policy = new policies[config.policy]();
    this.#router = new Router({ incarnation: this.incarnation, limits: config, fleet, policy });
    this.#sessions = new SessionManager({
      ...{ fleet, routerIncarnation: this.incarnation, config, clock, random, log },
      dial: network.dial,
      onEvent: (event) => {
        this.#door.step(event);
        this.#updateHealth();
      },
    });
    this.#door = new FrontDoor({
      ...{ router: this.#router, catalog: this.#catalog, links: this.#sessions, config, clock, random },
    });
  }

  get address(): string {
    return this.#server?.address ?? '';
  }

  async start(descriptorSet: Uint8Array): Promise<void> {
    const { config, store, bus, clock, log, metrics } = this.#options;
    const fleet = this.#fleet;
    const overview = { fleet, router: this.#router, incarnation: this.incarnation, store, bus, door: this.#door };
    // Frames before sessions: whoever welcomes the router may send at once.
    this.#frames = bus.subscribe(frameSubject(this.incarnation), (payload) => this.#onFrame(payload));
    bus.onConnection((connected) => this.#door.step({ kind: 'bus', connected }));
    this.#server = await this.#network.serve({
      ...{ listen: config.listen, log, clock, descriptorSet, serving: false },
      services: [
        inferenceService(this.#door, () => listModels(fleet)),
        operationsService({ status: () => statusOf(overview), drain: (target) => this.#onDrainOrder(target) }),
      ],
      maxMessageBytes: config.maxMessage,
      maxPendingMessages: config.maxUnreadMessages,
    });
    this.#watch = store.watch(storeRoot, (event) => this.#onStoreEvent(event));
    const updateMetrics = metrics ? exposeRouter(metrics, this.#router) : () => {};
    this.#stopTicking = clock.every(tickMs, () => {
      this.#door.step({ kind: 'tick' });
      updateMetrics();
    });
    log.info({ address: this.address, incarnation: this.incarnation }, 'the router listens');
  }

  async drain(): Promise<void> {
    this.#setDrain(this.#options.config.drain);
    await this.#door.emptied();
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#stopTicking();
    this.#cancelDrainLimit();
    await this.#server?.stop();
    this.#sessions.stop();
    this.#frames?.close();
    await this.#watch?.close();
  }

  #onDrainOrder(target: DrainTarget): Promise<DrainStarted> {
    return drain(target, {
      fleet: this.#fleet,
      defaultLimitMs: this.#options.config.drain,
      tellWorker: (address, request) => tellWorker(this.#network.dial, address, request),
      drainRouter: (limitMs) => this.#setDrain(limitMs),
    });
  }

  /** undefined: requests are taken again. */
  #setDrain(limitMs: number | undefined): void {
    const { clock, log } = this.#options;
    this.#cancelDrainLimit();
    if (limitMs === undefined) {
      this.#door.open();
      this.#cancelDrainLimit = () => {};
    } else {
      this.#door.close();
      this.#cancelDrainLimit = clock.after(limitMs, () => this.#door.abandonAll(leaving()));
    }
    log.info({ limitMs }, limitMs === undefined ? 'the drain is undone' : 'the router drains');
    this.#updateHealth();
  }

  #onStoreEvent(event: WatchEvent): void {
    try {
      this.#fleet.apply(event);
    } catch (cause) {
      const { message } = TriremeError.from(cause);
      this.#options.log.error({ reason: message }, 'a record in the store cannot be read and is left out');
    }
    this.#catalog.refresh();
    this.#sessions.reconcile();
    this.#door.step({ kind: 'placement' });
    this.#updateHealth();
  }

  /** What cannot be read counts as not come: the next frame or status shows the gap. */
  #onFrame(payload: Uint8Array): void {
    let frame: Frame;
    try {
      frame = Frame.decode(payload);
    } catch (cause) {
      this.#options.log.error({ reason: TriremeError.from(cause).message }, 'a frame cannot be read');
      return;
    }
    this.#door.step({ kind: 'frame', frame });
  }

  #updateHealth(): void {
    const isServing = this.#router.isReady && !this.#door.isClosed;
    if (isServing === this.#isServing) return;
    this.#isServing = isServing;
    this.#server?.setServing(isServing);
    this.#options.log.info({ serving: isServing }, isServing ? 'requests are taken' : 'no request is taken');
  }
}

async function tellWorker(dial: Dial, address: string, request: DrainRequest): Promise<void> {
  const client = dial(address);
  try {
    await client.unary(WorkerControlService.drain, request, { timeoutMs: drainAnswerMs });
  } finally {
    client.close();
  }
}
