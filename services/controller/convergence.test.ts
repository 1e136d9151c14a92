/**
 * Whatever happens, in whatever order: once it stops, every wanted group that has room is served, nothing else is, and
 * nothing is written any more. The laws that hold at every moment are checked by SimulatedCluster at every write.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GroupState } from '#proto/records.ts';
import type { FormBehaviour } from '../../test/fakes/fake-worker.ts';
import { SimulatedCluster } from '../../test/fakes/simulated-cluster.ts';
import { isAlive } from './group.ts';

const capacities: Record<string, number> = { w0: 1, w1: 2, w2: 2, w3: 3 };
const workerIds = Object.keys(capacities);
const models = ['m', 'n'];
/** A stalled formation, the longest pause between formations, a drain, and some. */
const calmDownMs = 240_000;
const drainMs = 3000;

type WorkerEventKind =
  | 'start'
  | 'kill'
  | 'lose-lease'
  | 'register'
  | 'freeze'
  | 'thaw'
  | 'end-teams'
  | 'drain'
  | 'undo-drain';

type Event =
  | { readonly kind: WorkerEventKind; readonly worker: string }
  /** The groups that it leads, not the worker itself. */
  | { readonly kind: 'drain-groups'; readonly worker: string }
  | { readonly kind: 'behave'; readonly worker: string; readonly behaviour: FormBehaviour }
  | { readonly kind: 'load'; readonly worker: string; readonly running: number }
  | {
      readonly kind: 'wish';
      readonly model: string;
      readonly ranks: number;
      readonly groups: number;
      readonly digest: string;
    }
  | { readonly kind: 'unwish'; readonly model: string }
  | { readonly kind: 'store-away' | 'store-back' | 'depose' }
  | { readonly kind: 'lose-answers'; readonly count: number }
  | { readonly kind: 'pass'; readonly durationMs: number };

const worker = fc.constantFrom(...workerIds);
const model = fc.constantFrom(...models);
const onWorker = (...kinds: WorkerEventKind[]) => fc.record({ kind: fc.constantFrom(...kinds), worker });
const pass = fc.record({
  kind: fc.constant('pass' as const),
  durationMs: fc.constantFrom(50, 300, 1000, 7000, 70_000),
});
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 4, arbitrary: onWorker('start', 'kill') },
  { weight: 4, arbitrary: onWorker('lose-lease', 'register', 'freeze', 'thaw', 'end-teams') },
  { weight: 2, arbitrary: onWorker('drain', 'undo-drain') },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drain-groups' as const), worker }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('behave' as const),
      worker,
      behaviour: fc.constantFrom<FormBehaviour>('warm', 'fail', 'hang', 'hang-warming'),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('load' as const), worker, running: fc.integer({ min: 0, max: 1 }) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('wish' as const),
      model,
      ranks: fc.integer({ min: 1, max: 4 }),
      groups: fc.integer({ min: 0, max: 3 }),
      digest: fc.constantFrom('d1', 'd2'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unwish' as const), model }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom('store-away', 'store-back', 'depose') }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('lose-answers' as const), count: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 8, arbitrary: pass },
);

type Wish = Extract<Event, { kind: 'wish' }>;

class World {
  readonly cluster = new SimulatedCluster();
  readonly wishes = new Map<string, Wish>();

  async happen(event: Event): Promise<void> {
    const { cluster } = this;
    switch (event.kind) {
      case 'wish':
        this.wishes.set(event.model, event);
        await cluster.wish({
          name: event.model,
          ranks: event.ranks,
          groups: event.groups,
          packageDigest: event.digest,
        });
        return;
      case 'unwish':
        this.wishes.delete(event.model);
        return cluster.unwish(event.model);
      case 'store-away':
      case 'store-back':
        cluster.store.away = event.kind === 'store-away';
        return;
      case 'lose-answers':
        cluster.store.answersToLose = event.count;
        return;
      case 'depose':
        return cluster.deposeLeader();
      case 'pass':
        return cluster.pass(event.durationMs);
      default:
        return this.#happenTo(event);
    }
  }

  async #happenTo(event: Extract<Event, { worker: string }>): Promise<void> {
    const { cluster } = this;
    const known = cluster.workers.get(event.worker);
    if (event.kind === 'start') {
      if (!known?.alive) await cluster.startWorker(event.worker, capacities[event.worker] ?? 1);
      return;
    }
    if (!known?.alive) return;
    const { fake } = known;
    if (event.kind === 'kill') cluster.kill(event.worker);
    if (event.kind === 'lose-lease') cluster.loseLease(event.worker);
    if (event.kind === 'register') await cluster.register(event.worker);
    if (event.kind === 'freeze' || event.kind === 'thaw')
      cluster.fleet.freeze(fake.record.address, event.kind === 'freeze');
    if (event.kind === 'drain' || event.kind === 'undo-drain') {
      fake.record.drainMs = event.kind === 'drain' ? drainMs : undefined;
      await cluster.register(event.worker);
    }
    if (event.kind === 'drain-groups') for (const group of fake.teams.keys()) fake.drainGroup(group, drainMs);
    if (event.kind === 'end-teams') fake.teams.clear();
    if (event.kind === 'behave') fake.behaviour = event.behaviour;
    if (event.kind === 'load') fake.running = event.running;
  }

  /** Everything works again, and time passes. */
  async calmDown(): Promise<void> {
    await this.happen({ kind: 'store-back' });
    await this.happen({ kind: 'lose-answers', count: 0 });
    for (const worker of workerIds) {
      await this.happen({ kind: 'start', worker });
      await this.happen({ kind: 'behave', worker, behaviour: 'warm' });
      await this.happen({ kind: 'load', worker, running: 0 });
      await this.happen({ kind: 'thaw', worker });
      await this.happen({ kind: 'undo-drain', worker });
    }
    if (this.capacitySuffices) await this.cluster.until(() => this.departures().length === 0, calmDownMs);
    else await this.cluster.pass(calmDownMs);
    await this.cluster.pass(2000);
  }

  get capacitySuffices(): boolean {
    const needed = [...this.wishes.values()].reduce((sum, { ranks, groups }) => sum + ranks * groups, 0);
    return needed <= Object.values(capacities).reduce((sum, ranks) => sum + ranks, 0);
  }

  /** What is not as it should be in the end; empty: converged. */
  departures(): string[] {
    const found: string[] = [];
    const wanted = new Map<string, Wish>(
      [...this.wishes].flatMap(([name, wish]) =>
        Array.from({ length: wish.groups }, (_, index) => [`${name}-${index}`, wish] as const),
      ),
    );
    for (const [group, wish] of wanted) {
      const record = this.cluster.groups.get(group);
      const isCurrent = record?.packageDigest === wish.digest && this.cluster.isServed(group);
      if (this.capacitySuffices && !isCurrent) found.push(`${group} is not served: ${record?.failure}`);
      if (!this.capacitySuffices && record === undefined) found.push(`${group} does not say why it is not served`);
    }
    for (const [group, record] of this.cluster.groups) {
      if (!wanted.has(group)) found.push(`${group} is there in state ${record.state}, but nobody wants it`);
    }
    return [...found, ...this.#strays()];
  }

  #strays(): string[] {
    return [...this.cluster.workers].flatMap(([id, { fake }]) =>
      [...fake.teams].flatMap(([group, { epoch }]) => {
        const record = this.cluster.groups.get(group);
        const hasPlace = record?.epoch === epoch && record.state !== GroupState.GROUP_STATE_DEAD;
        return hasPlace ? [] : [`${id} holds ${group}@${epoch}, which has no place`];
      }),
    );
  }
}

test('from any sequence of events the cluster converges, by legal edges and rising epochs, and then rests', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 40 }), async (events) => {
      const world = new World();
      world.cluster.startController('c1');
      world.cluster.startController('c2');
      for (const event of events) await world.happen(event);
      await world.calmDown();
      expect(world.departures()).toEqual([]);
      const { length } = world.cluster.history;
      await world.cluster.pass(20_000);
      const late = world.cluster.history.slice(length);
      expect(late.map(({ group, epoch, state, failure }) => [group, epoch, state, failure])).toEqual([]);
      expect(world.cluster.violations).toEqual([]);
      await world.cluster.stop();
    }),
    { numRuns: 300 },
  );
});

test('a worker that drains is left by its groups, which form anew where there is room; nothing is placed there until it is back', async () => {
  const { cluster } = new World();
  cluster.startController('c');
  const leaving = await cluster.startWorker('w0', 2);
  await cluster.startWorker('w1', 2);
  await cluster.wish({ name: 'm', ranks: 1, groups: 4 });
  const ownersOf = () => [...cluster.groups.values()].filter(isAlive).map(({ ranks }) => ranks[0]!.worker);
  expect(await cluster.until(() => cluster.isServed('m-3'), 10_000)).toBe(true);
  leaving.record.drainMs = drainMs;
  leaving.running = 1;
  await cluster.register('w0');
  expect(await cluster.until(() => ownersOf().length === 2, drainMs + 2000)).toBe(true);
  expect(ownersOf()).toEqual(['w1', 'w1']);
  expect(leaving.teams.size).toBe(0);
  leaving.record.drainMs = undefined;
  await cluster.register('w0');
  expect(await cluster.until(() => ownersOf().length === 4, 10_000)).toBe(true);
  await cluster.stop();
});

test('a group that is drained before the controller knows that it became Ready drains all the same', async () => {
  const { cluster } = new World();
  cluster.startController('c');
  const leaving = await cluster.startWorker('w0', 1);
  await cluster.wish({ name: 'm', ranks: 1, groups: 1 });
  expect(await cluster.until(() => cluster.stateOf('m-0') === GroupState.GROUP_STATE_WARMING, 5000)).toBe(true);
  cluster.store.answersToLose = 1;
  expect(await cluster.until(() => cluster.stateOf('m-0') === GroupState.GROUP_STATE_READY, 5000)).toBe(true);
  leaving.record.drainMs = drainMs;
  await cluster.register('w0');
  expect(await cluster.until(() => cluster.stateOf('m-0') === GroupState.GROUP_STATE_DRAINING, 900)).toBe(true);
  expect(await cluster.until(() => cluster.stateOf('m-0') === GroupState.GROUP_STATE_DEAD, 10_000)).toBe(true);
  await cluster.stop();
});
