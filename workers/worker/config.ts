/** What an operator may set of a worker. */
import { availableParallelism, totalmem } from 'node:os';
import { byteSize, type ConfigOf, durationMs, integer, listenAddress, optional, text } from '#platform/config.ts';

export const workerFields = {
  id: optional(text({ help: 'name in the store; drawn at every start when left out' })),
  listen: listenAddress({ default: '127.0.0.1:0', help: 'where controller and routers connect' }),
  rankListen: listenAddress({ default: '127.0.0.1:0', help: 'where ranks of other workers connect' }),
  advertiseHost: optional(
    text({ help: 'host by which others reach this worker; that of the listen addresses when left out' }),
  ),
  rankCapacity: integer({
    default: availableParallelism(),
    min: 1,
    max: 1024,
    help: 'ranks that it may own at a time',
  }),
  memory: byteSize({ default: totalmem(), min: 1, help: 'what it registers as its memory' }),
  leaseTtl: durationMs({ default: 5000, min: 1000, help: 'how long it stays registered after it was last heard of' }),
  drain: durationMs({ default: 10_000, help: 'how long a drain waits for running requests' }),
};

export type WorkerConfig = ConfigOf<typeof workerFields>;
