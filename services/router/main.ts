/** The router process. */
import { busFields, runProcess } from '#platform/run-process.ts';
import { routerFields } from './config.ts';
import { startRouter } from './service.ts';

/** What the end takes after the drain: last messages, connections. */
const stopMs = 5000;

await runProcess({
  name: 'router',
  fields: { ...routerFields, ...busFields },
  endMs: ({ drain }) => drain + stopMs,
  start: async ({ openBus, ...shared }) => {
    const router = await startRouter({ ...shared, bus: await openBus(shared.config.natsUrl) });
    return { drain: () => router.drain(), stop: () => router.stop() };
  },
});
