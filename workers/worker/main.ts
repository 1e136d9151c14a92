/** The worker process: configuration, adapters, worker. */

import { connectNatsBus } from '#platform/bus-nats.ts';
import { systemClock } from '#platform/clock.ts';
import { type ConfigOf, listenAddress, loadConfig, oneOf, optional, urls } from '#platform/config.ts';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import { Lifecycle } from '#platform/lifecycle.ts';
import { createLogger, type Logger } from '#platform/log.ts';
import { Metrics, startMetricsServer } from '#platform/metrics.ts';
import { systemRandom } from '#platform/random.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { workerFields } from './config.ts';
import { startWorker } from './service.ts';

const fields = {
  ...workerFields,
  etcdUrl: urls(['http', 'https'], { default: ['http://127.0.0.1:2379'], help: 'members of the etcd cluster' }),
  natsUrl: urls(['nats', 'tls'], { default: ['nats://127.0.0.1:4222'], help: 'servers of the NATS cluster' }),
  metricsListen: optional(
    listenAddress({ help: 'where GET /metrics and /healthz are answered; nowhere when left out' }),
  ),
  logLevel: oneOf(['debug', 'info', 'warn', 'error'], { default: 'info', help: 'least severe lines to log' }),
};

/** More than the time after which rank threads count as stuck: that has an exit of its own. */
const stopMs = 22_000;

async function run(config: ConfigOf<typeof fields>, log: Logger): Promise<void> {
  const lifecycle = new Lifecycle({ log, process, deadlineMs: config.drain + stopMs });
  const shared = { log, clock: systemClock };
  try {
    const store = await connectEtcdStore({ ...shared, urls: config.etcdUrl });
    lifecycle.add({ name: 'store', stop: () => store.close() });
    const bus = await connectNatsBus({ ...shared, urls: config.natsUrl });
    lifecycle.add({ name: 'bus', stop: () => bus.close() });
    const metrics = new Metrics('trireme');
    if (config.metricsListen !== undefined) {
      const server = await startMetricsServer(metrics, config.metricsListen, () => lifecycle.state === 'ready');
      lifecycle.add({ name: 'metrics', stop: () => server.stop() });
    }
    const worker = await startWorker({ ...shared, config, store, bus, random: systemRandom, metrics });
    lifecycle.add({ name: 'worker', drain: () => worker.drain(), stop: () => worker.stop() });
    lifecycle.becomeReady();
  } catch (error) {
    const known = TriremeError.from(error);
    log.fatal({ err: error }, known.toLine());
    await lifecycle.shutDown(errorCodes[known.code].exit);
  }
}

try {
  const config = loadConfig(fields, { argv: process.argv.slice(2), env: process.env });
  await run(config, createLogger(config.logLevel).component('worker'));
} catch (error) {
  const known = TriremeError.from(error);
  console.error(known.toLine());
  process.exitCode = errorCodes[known.code].exit;
}
