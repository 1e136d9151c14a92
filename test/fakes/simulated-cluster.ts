/**
 * The controller's real loop over an embedded store, fake workers without a network, and a clock that the test moves.
 * Every write below groups/ is checked as it happens: legal edges, rising epochs, no worker's capacity exceeded.
 */
import { createLogger } from '#platform/log.ts';
import type { RandomSource } from '#platform/random.ts';
import type { Lease } from '#platform/store.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { groupsPrefix, leaderKey, modelKey, workerKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, LeaderRecord, ModelRecord, WorkerRecord } from '#proto/records.ts';
import { runElection } from '../../services/controller/election.ts';
import { limitsOf } from '../../services/controller/limits.ts';
import { reconcile } from '../../services/controller/reconcile.ts';
import { FakeFleet } from './fake-fleet.ts';
import { FakeWorker } from './fake-worker.ts';
import { FlakyStore } from './flaky-store.ts';
import { ManualClock } from './manual-clock.ts';

/** Time moves in steps of this; everything that a step sets off comes to rest before the next. */
const stepMs = 50;

export interface SimulatedWorker {
  fake: FakeWorker;
  lease: Lease | undefined;
  alive: boolean;
}

export class SimulatedCluster {
  readonly clock = new ManualClock();
  readonly embedded = new EmbeddedStore();
  readonly store = new FlakyStore(this.embedded);
  readonly fleet = new FakeFleet(this.clock);
  readonly workers = new Map<string, SimulatedWorker>();
  readonly groups = new Map<string, GroupRecord>();
  /** Every record of a group that was written, in order. */
  readonly history: GroupRecord[] = [];
  readonly violations: string[] = [];
  #incarnations = 0;
  readonly #epochs = new Map<string, number>();
  /** By incarnation. */
  readonly #capacities = new Map<string, number>();
  readonly #stopping = new AbortController();
  readonly #controllers: Promise<void>[] = [];

  constructor() {
    this.embedded.watch(groupsPrefix, (event) => {
      if (event.kind === 'put') this.#onRecord(decodeOrEmpty(event.entry.value));
      if (event.kind === 'delete') this.groups.delete(event.key.slice(groupsPrefix.length));
    });
  }

  /** Several may be started; one leads. The result settles when it has stopped, or fails on a broken invariant. */
  startController(name: string): Promise<void> {
    const { store, clock, fleet: workers } = this;
    const log = createLogger('silent');
    const random: RandomSource = { bytes: (count) => new Uint8Array(count), id: () => name };
    const limits = limitsOf();
    const record = LeaderRecord.fromPartial({ controller: name });
    const election = runElection(
      { store, clock, log, record, ...limits },
      (leadership) => reconcile({ store, workers, clock, random, log, limits }, leadership),
      this.#stopping.signal,
    );
    this.#controllers.push(election);
    return election;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#controllers);
  }

  /** The leader loses its key; any controller may win the next. */
  async deposeLeader(): Promise<void> {
    await this.embedded.delete(leaderKey);
  }

  /** Starts it, or starts it anew after a kill. */
  async startWorker(id: string, rankCapacity: number): Promise<FakeWorker> {
    const incarnation = `${id}#${++this.#incarnations}`;
    const fake = new FakeWorker({ id, incarnation, rankCapacity, address: `${id}:1`, rankAddress: `${id}:2` });
    this.#capacities.set(incarnation, rankCapacity);
    this.workers.set(id, { fake, lease: this.workers.get(id)?.lease, alive: true });
    this.fleet.start(fake);
    await this.register(id);
    return fake;
  }

  async register(id: string): Promise<void> {
    const worker = this.#worker(id);
    await worker.lease?.release();
    worker.lease = await this.embedded.lease(leaseTtlMs);
    await this.embedded.put(workerKey(id), WorkerRecord.encode(worker.fake.record).finish(), worker.lease);
  }

  loseLease(id: string): void {
    const { lease } = this.#worker(id);
    if (lease) this.embedded.revokeLease(lease.id);
  }

  /** The process goes at once, its lease after its time to live unless it is back by then. */
  kill(id: string): void {
    const worker = this.#worker(id);
    worker.alive = false;
    this.fleet.kill(worker.fake.record.address);
    const { lease } = worker;
    this.clock.after(leaseTtlMs, () => lease && this.embedded.revokeLease(lease.id));
  }

  async wish(model: Partial<ModelRecord> & { name: string }): Promise<void> {
    const serving = { kvBlocks: 64, maxSequences: 8, stepTokens: 64, maxWaiting: 8 };
    const complete = { packagePath: '/p', packageDigest: 'd1', ranks: 1, groups: 1, serving, ...model };
    await this.embedded.put(modelKey(model.name), ModelRecord.encode(ModelRecord.fromPartial(complete)).finish());
  }

  async unwish(model: string): Promise<void> {
    await this.embedded.delete(modelKey(model));
  }

  /** Lets time pass. */
  async pass(durationMs: number): Promise<void> {
    await atRest();
    for (let left = durationMs; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      await atRest();
    }
  }

  /** Lets time pass until the condition holds; false: it did not within limitMs. */
  async until(condition: () => boolean, limitMs: number): Promise<boolean> {
    for (let left = limitMs; left > 0 && !condition(); left -= stepMs) await this.pass(stepMs);
    return condition();
  }

  stateOf(group: string): GroupState | undefined {
    return this.groups.get(group)?.state;
  }

  /** Ready, and every worker of it holds it so. */
  isServed(group: string): boolean {
    const record = this.groups.get(group);
    if (record?.state !== GroupState.GROUP_STATE_READY) return false;
    return record.ranks.every(({ worker, incarnation }) => {
      const fake = this.workers.get(worker)?.fake;
      const team = fake?.teams.get(group);
      return fake?.record.incarnation === incarnation && team?.ready === true && team.epoch === record.epoch;
    });
  }

  #worker(id: string): SimulatedWorker {
    const worker = this.workers.get(id);
    if (!worker) throw new Error(`no worker ${id}`);
    return worker;
  }

  #onRecord(record: GroupRecord): void {
    if (record.state === GroupState.GROUP_STATE_UNSPECIFIED) return;
    const previous = this.groups.get(record.group);
    this.groups.set(record.group, record);
    this.history.push(record);
    const edge = `${previous?.state ?? 0}>${record.state}`;
    if (!legalEdges.has(edge)) this.violations.push(`${record.group}: illegal edge ${edge}`);
    const epoch = this.#epochs.get(record.group) ?? 0;
    const isNew = record.state === GroupState.GROUP_STATE_FORMING;
    if (isNew ? record.epoch <= epoch : record.epoch !== epoch) {
      this.violations.push(`${record.group}: epoch ${record.epoch} after ${epoch} in state ${record.state}`);
    }
    this.#epochs.set(record.group, record.epoch);
    this.#checkCapacity();
  }

  #checkCapacity(): void {
    const owned = new Map<string, number>();
    for (const { state, ranks } of this.groups.values()) {
      if (state === GroupState.GROUP_STATE_DEAD) continue;
      for (const { incarnation } of ranks) owned.set(incarnation, (owned.get(incarnation) ?? 0) + 1);
    }
    for (const [incarnation, ranks] of owned) {
      const capacity = this.#capacities.get(incarnation) ?? 0;
      if (ranks > capacity) this.violations.push(`${incarnation} owns ${ranks} ranks of ${capacity}`);
    }
  }
}

/** From state to state; 0: no record. Into Dead from everywhere, from Dead only to a new formation or a new reason. */
const legalEdges = new Set(['0>1', '5>1', '1>2', '2>3', '3>4', '1>5', '2>5', '3>5', '4>5', '5>5', '0>5']);

const leaseTtlMs = 5000;

/** Tests also put values there that are no records. */
function decodeOrEmpty(value: Uint8Array): GroupRecord {
  try {
    return GroupRecord.decode(value);
  } catch {
    return GroupRecord.fromPartial({});
  }
}

/** Nothing here does I/O, so one turn of the event loop runs everything that is runnable. */
async function atRest(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}
