/** Ctrl-C and SIGTERM as an AbortSignal, for commands that have something to clean up. */
import { TriremeError } from '#platform/errors.ts';

/** The second signal ends the process at once, as if nobody listened. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => controller.abort(new TriremeError('CANCELLED', 'interrupted')));
  }
  return controller.signal;
}
