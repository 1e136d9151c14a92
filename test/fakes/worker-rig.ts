/** One worker over fake teams, an embedded store that can be cut off and an embedded bus, with those who talk to it. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedBus } from '#platform/bus-embedded.ts';
import { type Clock, systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import type { Metrics } from '#platform/metrics.ts';
import { systemRandom } from '#platform/random.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import type { HeldGroup } from '#proto/control.ts';
import type { GroupRecord } from '#proto/records.ts';
import type { WorkerConfig } from '../../workers/worker/config.ts';
import { type RunningWorker, startWorker } from '../../workers/worker/service.ts';
import { FakeTeams } from './fake-team.ts';
import { FlakyStore } from './flaky-store.ts';
import { placeGroup, ScriptedController } from './scripted-controller.ts';
import { ScriptedRouter } from './scripted-router.ts';

const manifest = '{"format":1}';
const rigConfig: WorkerConfig = {
  id: 'w0',
  listen: '127.0.0.1:0',
  rankListen: '127.0.0.1:0',
  advertiseHost: undefined,
  rankCapacity: 2,
  memory: 1,
  leaseTtl: 1000,
  drain: 60_000,
};

export interface RigOptions {
  readonly config?: Partial<WorkerConfig>;
  readonly clock?: Clock;
  readonly metrics?: Metrics;
}

export class WorkerRig {
  readonly embeddedStore = new EmbeddedStore();
  readonly store = new FlakyStore(this.embeddedStore);
  readonly bus = new EmbeddedBus();
  readonly teams = new FakeTeams();
  readonly folder = mkdtempSync(join(tmpdir(), 'worker-'));
  readonly #routers: ScriptedRouter[] = [];
  readonly #workers: RunningWorker[] = [];
  readonly #controllers: ScriptedController[] = [];

  private constructor() {
    writeFileSync(join(this.folder, 'manifest.json'), manifest);
  }

  static async start(options: RigOptions = {}): Promise<WorkerRig> {
    const rig = new WorkerRig();
    await rig.startWorker(options);
    return rig;
  }

  get worker(): RunningWorker {
    return this.#workers[0]!;
  }

  get controller(): ScriptedController {
    return this.#controllers[0]!;
  }

  async startWorker({ config = {}, clock = systemClock, metrics }: RigOptions): Promise<RunningWorker> {
    const worker = await startWorker({
      config: { ...rigConfig, ...config },
      store: this.store,
      bus: this.bus,
      clock,
      random: systemRandom,
      log: createLogger('silent'),
      openTeams: async () => this.teams,
      ...(metrics ? { metrics } : {}),
    });
    this.#workers.push(worker);
    this.#controllers.push(new ScriptedController(worker.address));
    return worker;
  }

  /** A placement of both ranks of group `g` on the worker. */
  place(epoch: number, changes: Partial<GroupRecord> = {}): GroupRecord {
    const packageDigest = createHash('sha256').update(manifest).digest('hex');
    const { record } = this.worker;
    return placeGroup(epoch, [record, record], { packagePath: this.folder, packageDigest, ...changes });
  }

  readonly form: ScriptedController['form'] = (...call) => this.controller.form(...call);

  async held(): Promise<HeldGroup[]> {
    return (await this.controller.describe()).groups;
  }

  router(incarnation: string): ScriptedRouter {
    const router = new ScriptedRouter(this.worker.address, this.bus, incarnation);
    this.#routers.push(router);
    return router;
  }

  /** A session with the leader of group `g`, welcomed. */
  async session(incarnation: string, epoch = 1): Promise<ScriptedRouter> {
    const router = this.router(incarnation);
    router.hello('g', epoch);
    await router.welcome();
    return router;
  }

  async stop(): Promise<void> {
    for (const router of this.#routers) router.break();
    for (const controller of this.#controllers) controller.close();
    for (const worker of this.#workers) await worker.stop();
    await this.bus.close();
    await this.embeddedStore.close();
    rmSync(this.folder, { recursive: true });
  }
}
