/** A process with one rank of a group that another process leads: started by run-job.ts, ends with the group. */
import { TriremeError } from '#platform/errors.ts';
import type { ServingSettings } from '#proto/records.ts';
import { openRankGate } from '../collectives/rank-gate.ts';
import { RankTeam } from '../rank/rank-team.ts';

export interface ChildOrders {
  readonly rank: number;
  readonly ranks: number;
  readonly packagePath: string;
  readonly serving: ServingSettings;
  readonly group: string;
  readonly epoch: number;
  readonly addresses: readonly string[];
  /** Hex. */
  readonly secret: string;
}

export interface ChildMessage {
  readonly address: string;
}

async function run(orders: ChildOrders, signal: AbortSignal): Promise<void> {
  const { rank, ranks, packagePath, serving, group, epoch, addresses, secret } = orders;
  const over = Promise.withResolvers<void>();
  const team = await RankTeam.start({
    packagePath,
    ranks,
    localRanks: [rank],
    serving,
    remote: { gate, group, epoch, addresses, secret: Buffer.from(secret, 'hex') },
    signal,
    events: {
      onProgress: () => {},
      onResult: () => {},
      onOver: () => over.resolve(),
      onStuck: (error) => over.reject(error),
    },
  });
  await over.promise;
  await team.end();
}

const gate = await openRankGate('127.0.0.1:0');
const left = new AbortController();
process.once('disconnect', () => left.abort(new TriremeError('CANCELLED', 'the process that leads has gone')));
process.once('message', async (orders: ChildOrders) => {
  try {
    await run(orders, left.signal);
  } catch (error) {
    // The leader hears of it by the connection between the ranks; this is for whoever looks at the terminal.
    if (!left.signal.aborted) console.error(TriremeError.from(error).toLine());
  }
  if (process.connected) process.disconnect();
  await gate.close();
});
process.send?.({ address: gate.address } satisfies ChildMessage);
