import { afterEach, expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { createLogger } from '#platform/log.ts';
import { EngineStatus } from '#proto/control.ts';
import { GenerateRequest, type GenerateResponse } from '#proto/inference.ts';
import { modelKey } from '#proto/keys.ts';
import { ModelRecord } from '#proto/records.ts';
import { Frame, FrameEntry, type RouterMessage, type Submit } from '#proto/worker.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { FakeFleetView, length } from '../../test/fakes/router-core.ts';
import { demoPackage } from '../../test/fakes/router-world.ts';
import { defaultConfig } from './config.ts';
import { Fleet } from './fleet.ts';
import { FrontDoor, leaving } from './front-door.ts';
import { ModelCatalog } from './model-catalog.ts';
import { LeastLoaded } from './policies/least-loaded.ts';
import { Router } from './router.ts';

let stopped = new AbortController();
afterEach(() => {
  stopped.abort(new TriremeError('CANCELLED', 'over'));
  stopped = new AbortController();
});

/** A door with one group behind it, whose frames the test sends. */
function setUp() {
  const clock = new ManualClock();
  const fleet = new Fleet();
  const groups = new FakeFleetView();
  const record = ModelRecord.fromPartial({ name: 'm', packagePath: demoPackage });
  const value = ModelRecord.encode(record).finish();
  fleet.apply({ kind: 'put', entry: { key: modelKey('m'), value, modRevision: 1, createRevision: 1 } });
  groups.put('g', 1);
  const router = new Router({ incarnation: 'r', limits: defaultConfig, fleet: groups, policy: new LeastLoaded() });
  const sent: NonNullable<RouterMessage['message']>[] = [];
  const catalog = new ModelCatalog({ fleet, clock, log: createLogger('silent') });
  const links = {
    send: (_session: number, message: NonNullable<RouterMessage['message']>) => void sent.push(message),
    attach: () => {},
    detach: () => {},
    close: () => {},
  };
  const random = { bytes: (count: number) => new Uint8Array(count).fill(1), id: () => 'drawn' };
  const door = new FrontDoor({ router, catalog, links, config: defaultConfig, clock, random });
  const engine = EngineStatus.fromPartial({});
  door.step({ kind: 'session-opened', session: 1, group: 'g', epoch: 1, lastFrame: 0, engine });
  const submits = (): Submit[] => sent.flatMap((message) => (message.$case === 'submit' ? [message.value] : []));
  let sequence = 0;
  const feed = (entry: Partial<FrameEntry>): void => {
    const entries = [FrameEntry.fromPartial({ attempt: 1, ...entry })];
    door.step({
      kind: 'frame',
      frame: { ...Frame.fromPartial({ group: 'g', epoch: 1, routerIncarnation: 'r' }), sequence: ++sequence, entries },
    });
  };
  return { door, router, catalog, record, sent, submits, feed };
}

const text = (requestId: string, value = 'a') =>
  GenerateRequest.fromPartial({ requestId, prompt: { $case: 'text', value } });
const ignore = (): void => {};

test('a request whose messages bring about its own end, as a slow client does, ends once and in peace', async () => {
  const { door, router, catalog, record, sent, submits, feed } = setUp();
  await catalog.load(record);
  const slow = new AbortController();
  const received: GenerateResponse[] = [];
  const generation = door.generate(
    text('a'),
    (response) => {
      received.push(response);
      slow.abort(new TriremeError('SLOW_CONSUMER', 'too slow'));
      expect(router.requestCount, 'the event waits until the step is done').toBe(1);
    },
    slow.signal,
  );
  const ended = expect(generation).rejects.toMatchObject({ code: 'SLOW_CONSUMER' });
  await eventually(() => expect(submits()).toHaveLength(1));
  feed({ requestId: 'a', tokenIds: [10] });
  await ended;
  feed({ requestId: 'a', firstPosition: 1, tokenIds: [11], ...length });
  expect([received.length, router.requestCount, router.activeCount, door.streamCount]).toEqual([1, 0, 0, 0]);
  expect(sent.map(({ $case }) => $case)).toEqual(['submit', 'cancel', 'acknowledge']);
});

test('a request that is cancelled while its tokenizer is read never reaches a group', async () => {
  const { door, submits, catalog, record } = setUp();
  const generation = door.generate(text('a'), ignore, stopped.signal);
  const ended = expect(generation).rejects.toMatchObject({ code: 'CANCELLED' });
  expect([door.cancel('a'), door.cancel('a'), door.cancel('b')]).toEqual([true, false, false]);
  await ended;
  await catalog.load(record);
  expect([submits(), door.streamCount]).toEqual([[], 0]);
});

test('so does one that is cancelled in the very moment in which its tokenizer is there', async () => {
  const { door, submits, catalog, record, router } = setUp();
  const loading = catalog.load(record);
  const generation = door.generate(text('a'), ignore, stopped.signal);
  const ended = expect(generation).rejects.toMatchObject({ code: 'CANCELLED' });
  await loading;
  door.cancel('a');
  await ended;
  expect([submits(), door.streamCount, router.requestCount]).toEqual([[], 0, 0]);
});

test('a request that comes with its signal aborted is over before it begins', async () => {
  const { door } = setUp();
  const late = AbortSignal.abort(new TriremeError('DEADLINE_EXCEEDED', 'late'));
  await expect(door.generate(text('a'), ignore, late)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  expect(door.streamCount).toBe(0);
});

test('the id of a request that was refused is free again', async () => {
  const { door, router } = setUp();
  const bad = GenerateRequest.fromPartial({ ...text('a'), sampling: { topP: 7 } });
  for (let i = 0; i < 2; i++) {
    await expect(door.generate(bad, ignore, stopped.signal)).rejects.toMatchObject({
      message: expect.stringContaining('top_p'),
    });
  }
  expect([door.streamCount, router.requestCount]).toEqual([0, 0]);
});

test('an id is drawn where the client gives none; stop strings stay in the router', async () => {
  const { door, submits, catalog, record, feed } = setUp();
  await catalog.load(record);
  const received: GenerateResponse[] = [];
  const request = GenerateRequest.fromPartial({ ...text(''), sampling: { stop: ['x'] } });
  const generation = door.generate(request, (response) => received.push(response), stopped.signal);
  await eventually(() => expect(submits()).toHaveLength(1));
  expect(submits()).toMatchObject([{ requestId: 'drawn', sampling: { stop: [], seed: String(0x0101010101010101n) } }]);
  feed({ requestId: 'drawn', tokenIds: [10], ...length });
  await generation;
  expect(received.at(-1)).toMatchObject({
    requestId: 'drawn',
    group: 'g',
    usage: { promptTokens: 1, completionTokens: 1 },
  });
});

test('a closed door lets nobody in; who is inside goes on, and is told where to go when the time is up', async () => {
  const { door, catalog, record, submits, feed } = setUp();
  await catalog.load(record);
  const finishing = door.generate(text('a'), ignore, stopped.signal);
  const lasting = door.generate(text('b'), ignore, stopped.signal);
  await eventually(() => expect(submits()).toHaveLength(2));
  door.close();
  const refused = { code: 'UNAVAILABLE', message: 'this router is draining' };
  await expect(door.generate(text('c'), ignore, stopped.signal)).rejects.toMatchObject(refused);
  let isEmpty = false;
  const emptied = door.emptied().then(() => {
    isEmpty = true;
  });
  feed({ requestId: 'a', tokenIds: [10], ...length });
  await finishing;
  expect(isEmpty).toBe(false);
  door.abandonAll(leaving());
  await expect(lasting).rejects.toMatchObject(refused);
  await emptied;
  door.open();
  const again = door.generate(text('d'), ignore, stopped.signal);
  await eventually(() => expect(submits()).toHaveLength(3));
  feed({ requestId: 'd', tokenIds: [10], ...length });
  await again;
});
