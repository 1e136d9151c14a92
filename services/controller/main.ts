/** The controller process. */
import { runProcess } from '#platform/run-process.ts';
import { controllerFields } from './config.ts';
import { startController } from './service.ts';

await runProcess({
  name: 'controller',
  fields: controllerFields,
  start: async (shared) => {
    const controller = await startController(shared);
    return { stop: () => controller.stop() };
  },
});
