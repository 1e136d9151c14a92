/** The worker process. */
import { busFields, runProcess } from '#platform/run-process.ts';
import { workerFields } from './config.ts';
import { handoverMs } from './limits.ts';
import { startWorker } from './service.ts';

/** More than the time after which rank threads count as stuck: that has an exit of its own. */
const stopMs = 22_000;

await runProcess({
  name: 'worker',
  fields: { ...workerFields, ...busFields },
  endMs: ({ drain }) => drain + handoverMs + stopMs,
  start: async ({ openBus, ...shared }) => {
    const worker = await startWorker({ ...shared, bus: await openBus(shared.config.natsUrl) });
    return { drain: () => worker.drain(), stop: () => worker.stop() };
  },
});
