import { expect, test } from 'vitest';
import { createLogger } from '#platform/log.ts';
import { EmbeddedStore } from '#platform/store-embedded.ts';
import { groupKey, leaderKey } from '#proto/keys.ts';
import { GroupRecord, GroupState, LeaderRecord } from '#proto/records.ts';
import { FlakyStore } from '../../test/fakes/flaky-store.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { ClusterView } from './cluster-view.ts';
import { type ElectionOptions, type Leadership, runElection } from './election.ts';
import { GroupWriter } from './group-writer.ts';

/** Several controllers over one store; how long each leads is told from outside. */
class Contest {
  readonly clock = new ManualClock();
  readonly embedded = new EmbeddedStore();
  readonly store = new FlakyStore(this.embedded);
  readonly leading: string[] = [];
  readonly leaderships = new Map<string, Leadership>();

  join(controller: string, stop: AbortSignal): Promise<void> {
    const options: ElectionOptions = {
      ...{ store: this.store, clock: this.clock, log: createLogger('silent'), leaseTtlMs: 5000, retryMs: 100 },
      record: LeaderRecord.fromPartial({ controller }),
    };
    return runElection(options, (leadership) => this.#lead(controller, leadership), stop);
  }

  async atRest(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #lead(controller: string, leadership: Leadership): Promise<void> {
    this.leaderships.set(controller, leadership);
    this.leading.push(controller);
    if (!leadership.lost.aborted) {
      await new Promise<void>((resolve) => leadership.lost.addEventListener('abort', () => resolve(), { once: true }));
    }
    this.leading.splice(this.leading.indexOf(controller), 1);
  }
}

function writerOf(contest: Contest, controller: string): GroupWriter {
  const leadership = contest.leaderships.get(controller);
  if (!leadership) throw new Error(`${controller} never led`);
  return new GroupWriter(contest.store, new ClusterView(() => {}), leadership.guard);
}

test('of two controllers one leads; when it stops the other leads, and never both', async () => {
  const contest = new Contest();
  const [stopA, stopB] = [new AbortController(), new AbortController()];
  const [a, b] = [contest.join('a', stopA.signal), contest.join('b', stopB.signal)];
  await contest.atRest();
  expect(contest.leading).toEqual(['a']);
  stopA.abort();
  await a;
  await contest.atRest();
  expect(contest.leading).toEqual(['b']);
  stopB.abort();
  await b;
  expect(await contest.embedded.get(leaderKey)).toBeUndefined();
});

test('the write of a leader that was deposed is refused, even before it knows', async () => {
  const contest = new Contest();
  const stop = new AbortController();
  const elections = [contest.join('a', stop.signal)];
  await contest.atRest();
  const record = GroupRecord.fromPartial({ group: 'm-0', epoch: 1, state: GroupState.GROUP_STATE_FORMING });
  const oldWriter = writerOf(contest, 'a');
  await contest.embedded.delete(leaderKey);
  const refused = oldWriter.putFormation(record, undefined);
  expect(await refused).toBe(false);
  elections.push(contest.join('b', stop.signal));
  await contest.atRest();
  expect(contest.leading).toHaveLength(1);
  expect(await oldWriter.putFormation(record, undefined)).toBe(false);
  expect(await contest.embedded.get(groupKey('m-0'))).toBeUndefined();
  expect(await writerOf(contest, contest.leading[0] ?? '').putFormation(record, undefined)).toBe(true);
  stop.abort();
  await Promise.all(elections);
});

test('a leader whose lease is lost stops leading and campaigns again', async () => {
  const contest = new Contest();
  const stop = new AbortController();
  const election = contest.join('a', stop.signal);
  await contest.atRest();
  const before = contest.leaderships.get('a');
  contest.embedded.revokeLease('1');
  await contest.atRest();
  expect(before?.lost.aborted).toBe(true);
  expect(contest.leading).toEqual(['a']);
  expect(contest.leaderships.get('a')?.guard).not.toEqual(before?.guard);
  stop.abort();
  await election;
});

test('a leader learns from its lease alone that it lost, when the watch is cut off', async () => {
  const contest = new Contest();
  const stop = new AbortController();
  const election = contest.join('a', stop.signal);
  await contest.atRest();
  contest.store.away = true;
  contest.embedded.revokeLease('1');
  await contest.atRest();
  expect(contest.leaderships.get('a')?.lost.aborted).toBe(true);
  stop.abort();
  await election;
});

test('while the store is away a controller tries again after every pause, and leads when it is back', async () => {
  const contest = new Contest();
  contest.store.away = true;
  const stop = new AbortController();
  const election = contest.join('a', stop.signal);
  await contest.atRest();
  expect(contest.clock.timerCount).toBe(1);
  contest.store.away = false;
  contest.clock.advance(100);
  await contest.atRest();
  expect(contest.leading).toEqual(['a']);
  stop.abort();
  await election;
});

test('a broken invariant of the leader ends the election instead of being tried again', async () => {
  const contest = new Contest();
  const options = {
    store: contest.store,
    clock: contest.clock,
    log: createLogger('silent'),
    leaseTtlMs: 5000,
    retryMs: 100,
  };
  const election = runElection(
    { ...options, record: LeaderRecord.fromPartial({ controller: 'a' }) },
    () => Promise.reject(new TypeError('bug')),
    new AbortController().signal,
  );
  await expect(election).rejects.toThrow('bug');
});
