import { afterEach, expect, test } from 'vitest';
import { type Clock, systemClock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { systemRandom } from '#platform/random.ts';
import { implement, type RpcBidiCall, type RpcServer, startRpcServer } from '#platform/rpc.ts';
import { groupKey } from '#proto/keys.ts';
import { GroupRecord, GroupState } from '#proto/records.ts';
import { type Hello, LeaderMessage, type RouterMessage, WorkerService } from '#proto/worker.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import type { RouterEvent } from './events.ts';
import { Fleet } from './fleet.ts';
import { SessionManager } from './session-manager.ts';

const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** A server that notes who says Hello and how their sessions end, and answers what it is told to. */
class HelloServer {
  readonly hellos: Hello[] = [];
  endedCount = 0;
  answer: (hello: Hello) => LeaderMessage[] = ({ group, epoch }) => [welcome(group, epoch), status];
  #server: RpcServer | undefined;

  static async start(listen = '127.0.0.1:0'): Promise<HelloServer> {
    const server = new HelloServer();
    const session = (call: RpcBidiCall<RouterMessage, LeaderMessage>) => server.#serve(call);
    server.#server = await startRpcServer({
      listen,
      log: createLogger('silent'),
      services: [implement(WorkerService, { session, attach: async () => {} })],
    });
    open.push(() => server.stop());
    return server;
  }

  get address(): string {
    return this.#server?.address ?? '';
  }

  async stop(): Promise<void> {
    await this.#server?.stop();
  }

  async #serve(call: RpcBidiCall<RouterMessage, LeaderMessage>): Promise<void> {
    try {
      for await (const { message } of call.requests) {
        if (message?.$case !== 'hello') continue;
        this.hellos.push(message.value);
        for (const answer of this.answer(message.value)) call.send(answer);
      }
    } finally {
      this.endedCount++;
    }
  }
}

const welcome = (group: string, epoch: number) =>
  LeaderMessage.fromPartial({ message: { $case: 'welcome', value: { group, epoch } } });
const status = LeaderMessage.fromPartial({
  message: { $case: 'status', value: { lastFrame: 5, engine: { step: 9 } } },
});

function setUp(config = { helloTimeout: 2000, maxReconnectPause: 100 }, clock: Clock = systemClock) {
  const fleet = new Fleet();
  const events: RouterEvent[] = [];
  const shared = { fleet, config, clock, random: systemRandom, log: createLogger('silent') };
  const manager = new SessionManager({ ...shared, routerIncarnation: 'r1', onEvent: (event) => events.push(event) });
  open.push(() => manager.stop());
  const put = (address: string, epoch: number, state: GroupState = GroupState.GROUP_STATE_READY): void => {
    const record = GroupRecord.fromPartial({
      group: 'g',
      epoch,
      state,
      ranks: [
        { rank: 1, address: 'x' },
        { rank: 0, address },
      ],
    });
    const value = GroupRecord.encode(record).finish();
    fleet.apply({ kind: 'put', entry: { key: groupKey('g'), value, modRevision: 1, createRevision: 1 } });
    manager.reconcile();
  };
  const kinds = () => events.map(({ kind }) => kind);
  return { fleet, events, manager, put, kinds };
}

test('a session opens after the welcome and the first status, which say where the leader stands', async () => {
  const leader = await HelloServer.start();
  const { events, put } = setUp();
  put(leader.address, 4);
  put(leader.address, 4);
  await eventually(() => expect(events).toHaveLength(1));
  expect(events).toMatchObject([{ kind: 'session-opened', group: 'g', epoch: 4, lastFrame: 5, engine: { step: 9 } }]);
  expect(leader.hellos).toEqual([{ routerIncarnation: 'r1', group: 'g', epoch: 4 }]);
});

test.for<[string, (hello: Hello) => LeaderMessage[]]>([
  ['welcomes to another epoch', ({ group, epoch }) => [welcome(group, epoch - 1), status]],
  ['welcomes to another group', ({ epoch }) => [welcome('h', epoch), status]],
  ['opens with a status', () => [status]],
  ['welcomes twice', ({ group, epoch }) => [welcome(group, epoch), welcome(group, epoch)]],
  ['says nothing', () => []],
  ['says nothing after its welcome', ({ group, epoch }) => [welcome(group, epoch)]],
])('a leader that %s is left and tried again until it behaves', async ([, answer]) => {
  const leader = await HelloServer.start();
  const good = leader.answer;
  leader.answer = answer;
  const { events, put, kinds } = setUp({ helloTimeout: 100, maxReconnectPause: 100 });
  put(leader.address, 4);
  await eventually(() => expect(leader.hellos.length).toBeGreaterThan(1));
  expect(kinds()).not.toContain('session-opened');
  leader.answer = good;
  await eventually(() => expect(events.at(-1)?.kind).toBe('session-opened'));
  expect(
    kinds()
      .slice(0, -1)
      .every((kind) => kind === 'session-ended'),
  ).toBe(true);
  await eventually(() => expect(leader.endedCount).toBe(leader.hellos.length - 1));
});

test('an open session outlives the time for the welcome', async () => {
  const leader = await HelloServer.start();
  const clock = new ManualClock();
  const { put, kinds } = setUp({ helloTimeout: 100, maxReconnectPause: 100 }, clock);
  put(leader.address, 4);
  await eventually(() => expect(kinds()).toEqual(['session-opened']));
  clock.advance(1_000_000);
  expect([kinds(), clock.timerCount]).toEqual([['session-opened'], 0]);
});

test('a session that the core gives up is closed, and another one takes its place', async () => {
  const leader = await HelloServer.start();
  const { events, manager, put, kinds } = setUp();
  put(leader.address, 4);
  await eventually(() => expect(events).toHaveLength(1));
  manager.close(1, new TriremeError('UNAVAILABLE', 'silent'));
  manager.close(1, new TriremeError('UNAVAILABLE', 'silent'));
  await eventually(() => expect(kinds()).toEqual(['session-opened', 'session-ended', 'session-opened']));
  await eventually(() => expect(leader.endedCount).toBe(1));
  expect(events.at(-1)).toMatchObject({ session: 2 });
});

test('another epoch at the same address is another session; a group that ends loses its session', async () => {
  const leader = await HelloServer.start();
  const { events, put, kinds } = setUp();
  put(leader.address, 4);
  await eventually(() => expect(events).toHaveLength(1));
  put(leader.address, 5);
  await eventually(() => expect(events).toHaveLength(3));
  expect(events[2]).toMatchObject({ kind: 'session-opened', epoch: 5 });
  put(leader.address, 5, GroupState.GROUP_STATE_DRAINING);
  expect(events).toHaveLength(3);
  put(leader.address, 5, GroupState.GROUP_STATE_DEAD);
  expect(kinds().slice(3)).toEqual(['session-ended']);
  await eventually(() => expect(leader.endedCount).toBe(2));
});

test('a group that goes while its leader is out of reach is not looked for any more', async () => {
  const gone = await HelloServer.start();
  const { address } = gone;
  await gone.stop();
  const clock = new ManualClock();
  const { fleet, manager, put, kinds } = setUp({ helloTimeout: 2000, maxReconnectPause: 100 }, clock);
  put(address, 4);
  for (let attempts = 1; attempts <= 3; attempts++) {
    await eventually(() => expect(kinds()).toHaveLength(attempts));
    expect(clock.timerCount).toBe(1);
    clock.advance(attempts < 3 ? 100 : 0);
  }
  fleet.apply({ kind: 'delete', key: groupKey('g') });
  manager.reconcile();
  expect(clock.timerCount).toBe(0);
});
