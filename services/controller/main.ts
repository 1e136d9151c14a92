/** The controller process: configuration, adapters, controller. */
import { systemClock } from '#platform/clock.ts';
import { loadConfig, oneOf, urls } from '#platform/config.ts';
import { errorCodes, TriremeError } from '#platform/errors.ts';
import { Lifecycle } from '#platform/lifecycle.ts';
import { createLogger, type Logger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { type ControllerConfig, controllerFields } from './config.ts';
import { startController } from './service.ts';

const fields = {
  ...controllerFields,
  etcdUrl: urls(['http', 'https'], { default: ['http://127.0.0.1:2379'], help: 'members of the etcd cluster' }),
  logLevel: oneOf(['debug', 'info', 'warn', 'error'], { default: 'info', help: 'least severe lines to log' }),
};

async function run(config: ControllerConfig, etcdUrls: readonly string[], log: Logger): Promise<void> {
  const lifecycle = new Lifecycle({ log, process });
  const shared = { log, clock: systemClock };
  try {
    const store = await connectEtcdStore({ ...shared, urls: etcdUrls });
    lifecycle.add({ name: 'store', stop: () => store.close() });
    const controller = await startController({ ...shared, config, store, random: systemRandom });
    lifecycle.add({ name: 'controller', stop: () => controller.stop() });
    lifecycle.becomeReady();
  } catch (error) {
    const known = TriremeError.from(error);
    log.fatal({ err: error }, known.toLine());
    await lifecycle.shutDown(errorCodes[known.code].exit);
  }
}

try {
  const { logLevel, etcdUrl, ...config } = loadConfig(fields, { argv: process.argv.slice(2), env: process.env });
  await run(config, etcdUrl, createLogger(logLevel));
} catch (error) {
  const known = TriremeError.from(error);
  console.error(known.toLine());
  process.exitCode = errorCodes[known.code].exit;
}
