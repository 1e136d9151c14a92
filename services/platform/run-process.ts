/**
 * The start and the end of every process of a system: configuration, log, metrics, connections to etcd and NATS, then what
 * the process is for; and however that fails, one line that says why and an exit status that says which kind.
 */
import type { Bus } from './bus.ts';
import { connectNatsBus } from './bus-nats.ts';
import { type Clock, systemClock } from './clock.ts';
import {
  type ConfigOf,
  describeConfig,
  durationMs,
  type FieldTable,
  listenAddress,
  loadConfig,
  oneOf,
  optional,
  urls,
} from './config.ts';
import { errorCodes, TriremeError } from './errors.ts';
import { Lifecycle, type Resource } from './lifecycle.ts';
import { createLogger, type Logger } from './log.ts';
import { Metrics, startMetricsServer } from './metrics.ts';
import { type RandomSource, systemRandom } from './random.ts';
import type { Store } from './store.ts';
import { connectEtcdStore } from './store-etcd.ts';

/** What an operator may set of every process. */
export const processFields = {
  etcdUrl: urls(['http', 'https'], { default: ['http://127.0.0.1:2379'], help: 'members of the etcd cluster' }),
  startWait: durationMs({ default: 30_000, help: 'how long to wait at the start for servers that are not there yet' }),
  metricsListen: optional(
    listenAddress({ help: 'where GET /metrics and /healthz are answered; nowhere when left out' }),
  ),
  logLevel: oneOf(['debug', 'info', 'warn', 'error'], { default: 'info', help: 'least severe lines to log' }),
};

/** And of those that send or receive tokens. */
export const busFields = {
  natsUrl: urls(['nats', 'tls'], { default: ['nats://127.0.0.1:4222'], help: 'servers of the NATS cluster' }),
};

export interface ProcessContext<Config> {
  readonly config: Config;
  readonly store: Store;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly log: Logger;
  /** Connects to NATS; the connection ends after what start() returned. Errors: BUS_UNAVAILABLE. */
  openBus(urls: readonly string[]): Promise<Bus>;
}

export interface ProcessOptions<Fields extends FieldTable> {
  /** In every line of its log. */
  readonly name: string;
  /** Its own fields; those of every process are added. */
  readonly fields: Fields;
  /** How long drain and stop together may take. */
  readonly endMs?: (config: ConfigOf<Fields>) => number;
  /** Starts what the process is for. */
  readonly start: (context: ProcessContext<ConfigOf<Fields>>) => Promise<Omit<Resource, 'name'>>;
}

/** Returns when the process has started, or has failed to and is about to exit. Never throws. */
export async function runProcess<Fields extends FieldTable>(options: ProcessOptions<Fields>): Promise<void> {
  const fields = { ...processFields, ...options.fields };
  const argv = process.argv.slice(2);
  if (argv.includes('--help')) return console.log(describeConfig(fields));
  try {
    const config = loadConfig(fields, { argv, env: process.env });
    // The same record seen as its two halves, which the compiler cannot take apart by itself.
    const [own, common] = [config as ConfigOf<Fields>, config as ConfigOf<typeof processFields>];
    await startUp(options, own, common);
  } catch (error) {
    const known = TriremeError.from(error);
    console.error(known.toLine());
    process.exitCode = errorCodes[known.code].exit;
  }
}

async function startUp<Fields extends FieldTable>(
  { name, start, endMs }: ProcessOptions<Fields>,
  config: ConfigOf<Fields>,
  { etcdUrl, startWait, metricsListen, logLevel }: ConfigOf<typeof processFields>,
): Promise<void> {
  const log = createLogger(logLevel).component(name);
  const lifecycle = new Lifecycle({ log, process, ...(endMs ? { deadlineMs: endMs(config) } : {}) });
  const shared = { log, clock: systemClock };
  const connecting = { ...shared, startLimitMs: startWait };
  try {
    const store = await connectEtcdStore({ ...connecting, urls: etcdUrl });
    lifecycle.add({ name: 'store', stop: () => store.close() });
    const metrics = new Metrics('trireme');
    if (metricsListen !== undefined) {
      const server = await startMetricsServer(metrics, metricsListen, () => lifecycle.state === 'ready');
      lifecycle.add({ name: 'metrics', stop: () => server.stop() });
    }
    const openBus = async (natsUrls: readonly string[]): Promise<Bus> => {
      const bus = await connectNatsBus({ ...connecting, urls: natsUrls });
      lifecycle.add({ name: 'bus', stop: () => bus.close() });
      return bus;
    };
    lifecycle.add({ name, ...(await start({ ...shared, config, store, metrics, random: systemRandom, openBus })) });
    lifecycle.becomeReady();
  } catch (error) {
    const known = TriremeError.from(error);
    log.fatal({ err: error }, known.toLine());
    await lifecycle.shutDown(errorCodes[known.code].exit);
  }
}
