/** What an operator may set of a controller. Times are in milliseconds. */
import { type ConfigOf, durationMs, integer, listenAddress, optional } from '#platform/config.ts';

export const controllerFields = {
  listen: optional(listenAddress({ help: 'where the gRPC health service listens; none when left out' })),
  leaseTtl: durationMs({
    default: 5000,
    min: 1000,
    help: 'how long after the end of a leader another takes over at the latest',
  }),
  probe: durationMs({ default: 300, min: 10, help: 'how often every worker is asked what it holds' }),
  probeTimeout: durationMs({ default: 1000, min: 10, help: 'how long a worker may take to answer' }),
  maxUnreachable: integer({
    default: 2,
    min: 1,
    help: 'failed connections in a row that make a worker gone, whatever its lease says',
  }),
  maxUnanswered: integer({
    default: 3,
    min: 1,
    help: 'unanswered questions in a row that make a worker silent; with its lease gone too it is given up',
  }),
  disbandTimeout: durationMs({ default: 5000, min: 10, help: 'how long a worker may take to end a group' }),
  stall: durationMs({ default: 60_000, min: 100, help: 'a formation without any progress for so long has failed' }),
  minDrain: durationMs({ default: 1000, help: 'a drain lasts at least so long, so that every router has seen it' }),
  maxDrain: durationMs({ default: 60_000, help: 'a drain ends after so long even when requests still run' }),
  firstRetry: durationMs({ default: 500, min: 1, help: 'pause after the second failure of a group; it doubles' }),
  maxRetry: durationMs({ default: 30_000, min: 1, help: 'longest pause before a group that failed is tried again' }),
};

export type ControllerConfig = ConfigOf<typeof controllerFields>;
