/** The worker process: configuration, adapters, worker. */

import { connectNatsBus } from '#platform/bus-nats.ts';
import { systemClock } from '#platform/clock.ts';
import { loadConfig, oneOf, urls } from '#platform/config.ts';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import { Lifecycle } from '#platform/lifecycle.ts';
import { createLogger, type Logger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { type WorkerConfig, workerFields } from './config.ts';
import { startWorker } from './service.ts';

const fields = {
  ...workerFields,
  etcdUrl: urls(['http', 'https'], { default: ['http://127.0.0.1:2379'], help: 'members of the etcd cluster' }),
  natsUrl: urls(['nats', 'tls'], { default: ['nats://127.0.0.1:4222'], help: 'servers of the NATS cluster' }),
  logLevel: oneOf(['debug', 'info', 'warn', 'error'], { default: 'info', help: 'least severe lines to log' }),
};

/** What the end takes after the drain: threads, connections. */
const stopMs = 10_000;

async function run({ etcdUrl, natsUrl, ...config }: WorkerConfig & Backbone, log: Logger): Promise<void> {
  const lifecycle = new Lifecycle({ log, process, deadlineMs: config.drain + stopMs });
  const shared = { log, clock: systemClock };
  try {
    const store = await connectEtcdStore({ ...shared, urls: etcdUrl });
    lifecycle.add({ name: 'store', stop: () => store.close() });
    const bus = await connectNatsBus({ ...shared, urls: natsUrl });
    lifecycle.add({ name: 'bus', stop: () => bus.close() });
    const worker = await startWorker({ ...shared, config, store, bus, random: systemRandom });
    lifecycle.add({ name: 'worker', drain: () => worker.drain(), stop: () => worker.stop() });
    lifecycle.becomeReady();
  } catch (error) {
    const known = TriremeError.from(error);
    log.fatal({ err: error }, known.toLine());
    await lifecycle.shutDown(errorCodes[known.code].exit);
  }
}

interface Backbone {
  readonly etcdUrl: readonly string[];
  readonly natsUrl: readonly string[];
}

try {
  const { logLevel, ...config } = loadConfig(fields, { argv: process.argv.slice(2), env: process.env });
  await run(config, createLogger(logLevel).component('worker'));
} catch (error) {
  const known = TriremeError.from(error);
  console.error(known.toLine());
  process.exitCode = errorCodes[known.code].exit;
}
