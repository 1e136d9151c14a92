/** The controller as a process part: campaigns, leads while elected, and answers health checks. */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import { grpcNetwork, type RpcNetwork } from '#platform/rpc.ts';
import type { Store } from '#platform/store.ts';
import type { ControllerConfig } from './config.ts';
import { runElection } from './election.ts';
import { limitsOf } from './limits.ts';
import { reconcile } from './reconcile.ts';
import { WorkerClient } from './worker-client.ts';

export interface ControllerOptions {
  /** What is left out takes its default. */
  readonly config: Partial<ControllerConfig>;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  /** Default: gRPC. */
  readonly network?: RpcNetwork;
}

export interface RunningController {
  /** host:port of the health service. */
  readonly address: string | undefined;
  /** Resigns: another controller may lead at once. Groups serve on. Idempotent. */
  stop(): Promise<void>;
}

/** Several may run against one store; one leads. Errors: PORT_IN_USE, INVALID_CONFIG. The store may be away at start. */
export async function startController(options: ControllerOptions): Promise<RunningController> {
  const { config, store, clock, random, network = grpcNetwork } = options;
  const log = options.log.component('controller');
  const limits = limitsOf(config);
  const health =
    config.listen === undefined ? undefined : await network.serve({ listen: config.listen, services: [], log, clock });
  const address = health?.address;
  const stopping = new AbortController();
  const workers = new WorkerClient(network.dial);
  const election = runElection(
    { store, clock, log, record: { controller: random.id(), address: address ?? '' }, ...limits },
    (leadership) => reconcile({ store, workers, clock, random, log, limits }, leadership),
    stopping.signal,
  );
  return {
    address,
    stop: async () => {
      stopping.abort(new TriremeError('CANCELLED', 'the controller stops'));
      await election;
      workers.close();
      await health?.stop();
    },
  };
}
