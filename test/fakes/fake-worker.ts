/**
 * A worker that loads nothing: it keeps the rules of WorkerControl (epochs, capacity) and can be told to misbehave. A
 * cancelled formation leaves its team behind, half-made, so that whoever formed it must end it.
 */
import { TriremeError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { implement, startRpcServer } from '#platform/rpc.ts';
import type { Lease, Store } from '#platform/store.ts';
import {
  type DescribeResponse,
  type FormProgress,
  type FormRequest,
  FormStage,
  type HeldGroup,
  WorkerControlService,
} from '#proto/control.ts';
import { workerKey } from '#proto/keys.ts';
import { WorkerRecord } from '#proto/records.ts';

export type FormBehaviour = 'warm' | 'fail' | 'hang' | 'hang-warming';

interface Team {
  readonly epoch: number;
  readonly ranks: number[];
  readonly leader: boolean;
  readonly secret: Uint8Array;
  ready: boolean;
  drainMs?: number;
}

export class FakeWorker {
  readonly record: WorkerRecord;
  readonly teams = new Map<string, Team>();
  behaviour: FormBehaviour = 'warm';
  /** Sequences that run in every team that this worker leads. */
  running = 0;
  readonly #describers: (() => void)[] = [];

  constructor(record: Partial<WorkerRecord>) {
    this.record = WorkerRecord.fromPartial(record);
  }

  async form(
    { group: record, secret }: FormRequest,
    onProgress: (progress: FormProgress) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    if (!record) throw new TriremeError('INVALID_ARGUMENT', 'no group');
    const { group, epoch } = record;
    const held = this.teams.get(group);
    if (held && epoch < held.epoch) throw new TriremeError('STALE_EPOCH', `epoch ${epoch} is below ${held.epoch}`);
    const mine = record.ranks.filter(({ incarnation }) => incarnation === this.record.incarnation);
    const ranks = mine.map(({ rank }) => rank);
    this.teams.delete(group);
    if (this.heldRankCount + ranks.length > this.record.rankCapacity) throw new TriremeError('NO_ROOM', 'no room');
    const team: Team = { epoch, ranks, leader: ranks.includes(0), secret, ready: false };
    this.teams.set(group, team);
    for (const stage of stages) {
      if (this.behaviour === 'fail') throw new TriremeError('DIGEST_MISMATCH', 'the package is not what it should be');
      const hangsAt = this.behaviour === 'hang' ? FormStage.FORM_STAGE_LOADING : FormStage.FORM_STAGE_WARM;
      if (this.behaviour !== 'warm' && stage >= hangsAt) await aborted(signal);
      if (this.teams.get(group) !== team) throw new TriremeError('UNAVAILABLE', 'the team was ended while it formed');
      team.ready = stage === FormStage.FORM_STAGE_WARM;
      await onProgress({ stage, done: 1, total: 1 });
    }
  }

  disband(group: string, epoch: number): void {
    if (this.teams.get(group)?.epoch === epoch) this.teams.delete(group);
  }

  drainGroup(group: string, limitMs: number): void {
    const team = this.teams.get(group);
    if (team) team.drainMs = limitMs;
  }

  describe(): DescribeResponse {
    for (const answer of this.#describers.splice(0)) answer();
    const groups = [...this.teams].map(
      ([group, team]): HeldGroup => ({ ...team, group, status: this.#statusOf(team), adapters: [] }),
    );
    return { worker: this.record, groups };
  }

  /** Resolves after the next so many descriptions. */
  async described(count: number): Promise<void> {
    for (let left = count; left > 0; left--) await new Promise<void>((resolve) => this.#describers.push(resolve));
  }

  get heldRankCount(): number {
    return [...this.teams.values()].reduce((sum, team) => sum + team.ranks.length, 0);
  }

  #statusOf(team: Team): HeldGroup['status'] {
    if (!team.leader) return undefined;
    const idle = { step: 0, waiting: 0, freeSequences: 8, freeBlocks: 64, totalBlocks: 64 };
    return { ...idle, running: this.running, generatedTokens: 0, promptTokens: 0, preemptions: 0 };
  }
}

const stages = [
  FormStage.FORM_STAGE_VERIFYING,
  FormStage.FORM_STAGE_LOADING,
  FormStage.FORM_STAGE_JOINING,
  FormStage.FORM_STAGE_WARM,
];

async function aborted(signal: AbortSignal): Promise<never> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  throw signal.reason;
}

/** A fake worker with a real gRPC server. */
export interface ServedWorker {
  readonly worker: FakeWorker;
  /** Under a lease, as a worker does. */
  register(store: Store): Promise<Lease>;
  /** As kill -9 does: connections break, the port closes, the lease lives on. */
  kill(): Promise<void>;
}

/** listen: where an earlier one was, if its address is to come back. */
export async function serveFakeWorker(
  { log, listen = '127.0.0.1:0' }: { log: Logger; listen?: string },
  record: Partial<WorkerRecord>,
): Promise<ServedWorker> {
  const worker = new FakeWorker(record);
  const service = implement(WorkerControlService, {
    form: (request, call) => worker.form(request, (progress) => call.write(progress), call.signal),
    disband: async ({ group, epoch }) => {
      worker.disband(group, epoch);
      return {};
    },
    loadAdapter: async () => ({}),
    drain: async ({ group, limitMs }) => {
      worker.drainGroup(group, limitMs);
      return {};
    },
    describe: async () => worker.describe(),
  });
  const server = await startRpcServer({ listen, services: [service], log });
  worker.record.address = server.address;
  return {
    worker,
    register: async (store) => {
      const lease = await store.lease(5000);
      await store.put(workerKey(worker.record.id), WorkerRecord.encode(worker.record).finish(), lease);
      return lease;
    },
    kill: () => server.stop(),
  };
}
