/** Router, controller and worker in this process, over whatever store and bus it is given. */
import type { Bus } from '#platform/bus.ts';
import { systemClock } from '#platform/clock.ts';
import { type ConfigSources, loadConfig } from '#platform/config.ts';
import type { Lifecycle } from '#platform/lifecycle.ts';
import type { Logger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import type { Store } from '#platform/store.ts';
import { workerFields } from '../../../workers/worker/config.ts';
import { startWorker } from '../../../workers/worker/service.ts';
import { startController } from '../../controller/service.ts';
import { routerFields } from '../../router/config.ts';
import { startRouter } from '../../router/service.ts';

export interface LocalOptions {
  readonly listen: string;
  /** Ranks of all groups together: they all live here. */
  readonly rankCapacity: number;
  readonly store: Store;
  readonly bus: Bus;
  readonly log: Logger;
  readonly lifecycle: Lifecycle;
}

/** Returns the router's address. Everything is handed to the lifecycle, which ends it. Errors: PORT_IN_USE. */
export async function startLocal(options: LocalOptions): Promise<string> {
  const { listen, rankCapacity, store, bus, log, lifecycle } = options;
  const shared = { store, bus, log, clock: systemClock, random: systemRandom };
  const router = await startRouter({ ...shared, config: loadConfig(routerFields, defaultsWith({ listen })) });
  const controller = await startController({ ...shared, config: {} });
  const worker = await startWorker({
    ...shared,
    config: loadConfig(workerFields, defaultsWith({ 'rank-capacity': String(rankCapacity) })),
  });
  // Ended in reverse: first nobody asks any more, then nothing is placed, then nothing runs.
  lifecycle.add({ name: 'worker', stop: () => worker.stop() });
  lifecycle.add({ name: 'controller', stop: () => controller.stop() });
  lifecycle.add({ name: 'router', drain: () => router.drain(), stop: () => router.stop() });
  return router.address;
}

/** These flags and defaults otherwise: the environment is for processes that an operator deploys. */
function defaultsWith(flags: Readonly<Record<string, string>>): ConfigSources {
  return { argv: Object.entries(flags).map(([name, value]) => `--${name}=${value}`), env: {} };
}
