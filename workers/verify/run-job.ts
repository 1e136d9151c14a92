/** Runs a job on a group of ranks from beginning to end: all of them here, or each in a process of its own over TCP. */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { TriremeError } from '#platform/errors.ts';
import type { ServingSettings } from '#proto/records.ts';
import { openRankGate } from '../collectives/rank-gate.ts';
import type { LeaderJob } from '../rank/rank-messages.ts';
import { RankTeam } from '../rank/rank-team.ts';
import type { RemoteRanks } from '../rank/team-port.ts';
import type { ChildMessage, ChildOrders } from './rank-process.ts';

export type Transport = 'threads' | 'tcp';

export interface JobOptions {
  readonly packagePath: string;
  readonly ranks: number;
  readonly transport: Transport;
  readonly serving: ServingSettings;
  readonly job: LeaderJob;
  readonly signal?: AbortSignal;
}

const group = 'verify';
const epoch = 1;
/** Everything is on this machine: what has not come by then will not come. */
const joinTimeoutMs = 60_000;

/** What the job has posted last. Errors: those of StartTeam and of the job; the signal's reason. */
export async function runJob(options: JobOptions): Promise<unknown> {
  const { ranks, transport } = options;
  const all = Array.from({ length: ranks }, (_, rank) => rank);
  if (transport === 'threads' || ranks === 1) return runHere(options, all);
  const gate = await openRankGate('127.0.0.1:0');
  const secret = randomBytes(32);
  const children = all.slice(1).map((rank) => new RankProcess(rank));
  try {
    const addresses = [gate.address, ...(await Promise.all(children.map(({ address }) => address)))];
    const { packagePath, serving } = options;
    for (const { rank, child } of children) {
      child.send({
        rank,
        ranks,
        packagePath,
        serving,
        group,
        epoch,
        addresses,
        secret: secret.toString('hex'),
      } satisfies ChildOrders);
    }
    return await runHere(options, [0], { gate, group, epoch, addresses, secret, joinTimeoutMs });
  } finally {
    await Promise.all(children.map((child) => child.end()));
    await gate.close();
  }
}

/** Runs the ranks of this process, rank 0 among them, until the job is done. */
async function runHere(options: JobOptions, localRanks: readonly number[], remote?: RemoteRanks): Promise<unknown> {
  const { signal, packagePath, ranks, serving, job } = options;
  const over = Promise.withResolvers<void>();
  let result: unknown;
  const team = await RankTeam.start({
    packagePath,
    ranks,
    localRanks,
    serving,
    job,
    ...(remote ? { remote } : {}),
    ...(signal ? { signal } : {}),
    events: {
      onProgress: () => {},
      onResult: (value) => {
        result = value;
      },
      onOver: (error) => (error ? over.reject(error) : over.resolve()),
      onStuck: (error) => over.reject(error),
    },
  });
  const onAbort = (): void => over.reject(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  if (signal?.aborted) onAbort();
  try {
    await over.promise;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await team.end();
  }
  return result;
}

/** A child process with one rank. */
class RankProcess {
  readonly rank: number;
  readonly child: ChildProcess;
  /** host:port of its gate. */
  readonly address: Promise<string>;
  readonly #exited: Promise<void>;

  constructor(rank: number) {
    this.rank = rank;
    this.child = fork(new URL('./rank-process.ts', import.meta.url), { execArgv: [] });
    this.#exited = new Promise((resolve) => this.child.once('exit', () => resolve()));
    const early = this.#exited.then(() => {
      throw new TriremeError('RANK_FAILED', `the process of rank ${rank} exited before it listened`);
    });
    const address = new Promise<string>((resolve) => {
      this.child.once('message', (message: ChildMessage) => resolve(message.address));
    });
    this.address = Promise.race([address, early]);
  }

  /** It leaves by itself when the group ends; one that was never told of the group does not. */
  async end(): Promise<void> {
    if (this.child.connected) this.child.disconnect();
    await this.#exited;
  }
}
