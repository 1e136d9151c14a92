import { beforeEach, expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { FinishReason } from '#proto/inference.ts';
import { type EngineCommand, EngineReport } from '#proto/rank.ts';
import { Frame, FrameEntry, type LeaderMessage, type RouterMessage, Submit } from '#proto/worker.ts';
import { ManualClock } from '../../test/fakes/manual-clock.ts';
import { LeaderDesk, type StepFigures } from './leader-desk.ts';
import { defaultLimits, type WorkerLimits } from './limits.ts';
import type { RouterDesk, SessionLink } from './router-desk.ts';

class RecordingLink implements SessionLink {
  readonly messages: LeaderMessage['message'][] = [];
  keepsUp = true;
  ended: TriremeError | undefined;

  send({ message }: LeaderMessage): void {
    this.messages.push(message);
  }

  end(error: TriremeError): void {
    this.ended = error;
  }

  get cases(): (string | undefined)[] {
    return this.messages.map((message) => message?.$case);
  }

  get lastFrames(): number[] {
    return this.messages.flatMap((message) => (message?.$case === 'status' ? [message.value.lastFrame] : []));
  }

  get refusals(): string[] {
    return this.messages.flatMap((message) => (message?.$case === 'refused' ? [message.value.code] : []));
  }
}

let clock: ManualClock;
let commands: EngineCommand[];
let room: number;
let sendError: TriremeError | undefined;
let frames: Frame[];
let steps: StepFigures[];

beforeEach(() => {
  clock = new ManualClock();
  commands = [];
  room = Number.POSITIVE_INFINITY;
  frames = [];
  sendError = undefined;
  steps = [];
});

function createDesk(limits: Partial<WorkerLimits> = {}): LeaderDesk {
  return new LeaderDesk({
    group: 'g',
    epoch: 3,
    workerIncarnation: 'w',
    limits: { ...defaultLimits, ...limits },
    clock,
    isBusLost: () => false,
    send: (command) => {
      if (sendError) throw sendError;
      if (room === 0) return false;
      room--;
      commands.push(command);
      return true;
    },
    publish: (incarnation, frame) => {
      const decoded = Frame.decode(frame);
      expect(decoded.routerIncarnation).toBe(incarnation);
      frames.push(decoded);
    },
    onStep: (figures) => steps.push(figures),
  });
}

function openSession(desk: LeaderDesk, incarnation: string) {
  const link = new RecordingLink();
  return { link, router: desk.open(incarnation, link) };
}

const submitOf = (requestId: string, epoch = 3): RouterMessage => ({
  message: { $case: 'submit', value: Submit.fromPartial({ requestId, attempt: 1, n: 1, epoch }) },
});
const cancelOf = (requestId: string): RouterMessage => ({
  message: { $case: 'cancel', value: { requestId, attempt: 1, choices: [] } },
});
const token = ({ owner }: RouterDesk, requestId: string, firstPosition: number, finishReason?: FinishReason) => ({
  owner,
  entry: FrameEntry.fromPartial({
    requestId,
    attempt: 1,
    firstPosition,
    tokenIds: [firstPosition],
    ...(finishReason === undefined ? {} : { finishReason }),
  }),
});
const stop = FinishReason.FINISH_REASON_STOP;
const report = (step: number, entries: ReturnType<typeof token>[]) => EngineReport.fromPartial({ step, entries });
const commandCases = () => commands.map(({ command }) => command?.$case);

test('every router gets one frame a step with its own entries, counted without gaps from 1', () => {
  const desk = createDesk();
  const a = openSession(desk, 'a');
  const b = openSession(desk, 'b');
  for (const requestId of ['a1', 'a2']) a.router.onMessage(submitOf(requestId));
  b.router.onMessage(submitOf('b1'));
  desk.onReport(report(1, [token(a.router, 'a1', 0), token(b.router, 'b1', 0), token(a.router, 'a2', 0)]));
  desk.onReport(report(2, [token(a.router, 'a1', 1)]));
  desk.onReport(report(3, [token(b.router, 'b1', 1), token(a.router, 'a1', 2)]));
  const seen = frames.map(({ routerIncarnation, sequence, step, epoch, group, entries }) => {
    expect([epoch, group]).toEqual([3, 'g']);
    return `${routerIncarnation} #${sequence} step ${step}: ${entries.map((entry) => entry.requestId).join(' ')}`;
  });
  expect(seen.toSorted()).toEqual([
    'a #1 step 1: a1 a2',
    'a #2 step 2: a1',
    'a #3 step 3: a1',
    'b #1 step 1: b1',
    'b #2 step 3: b1',
  ]);
});

test('a session starts with welcome and status, then hears answers, the end of a request at once, and a status every 250 ms', () => {
  const desk = createDesk();
  const { link, router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  router.onMessage(submitOf('y'));
  const answer = { owner: router.owner, attempt: 1 };
  desk.onReport(
    EngineReport.fromPartial({
      answers: [
        { ...answer, requestId: 'x' },
        { ...answer, requestId: 'y', refusalCode: 'PROMPT_TOO_LONG' },
      ],
    }),
  );
  expect(link.cases).toEqual(['welcome', 'status', 'accepted', 'refused']);
  expect(desk.runningCount).toBe(1);
  desk.onReport(report(1, [token(router, 'x', 0)]));
  expect(link.cases).toHaveLength(4);
  desk.onReport(report(2, [token(router, 'x', 1, stop)]));
  expect(link.lastFrames).toEqual([0, 2]);
  clock.advance(750);
  expect(link.lastFrames).toEqual([0, 2, 2, 2, 2]);
  link.keepsUp = false;
  clock.advance(750);
  expect(link.lastFrames).toHaveLength(5);
});

test('a submit is refused for another epoch, twice, beyond the limit, with a full ring and in a drain', () => {
  const desk = createDesk({ runningAttemptsMax: 2 });
  const { link, router } = openSession(desk, 'a');
  router.onMessage(submitOf('x', 2));
  router.onMessage(submitOf('x'));
  router.onMessage(submitOf('x'));
  room = 0;
  router.onMessage(submitOf('y'));
  room = 9;
  router.onMessage(submitOf('y'));
  router.onMessage(submitOf('z'));
  router.onMessage(cancelOf('y'));
  void desk.drain();
  router.onMessage(submitOf('z'));
  expect(link.refusals).toEqual(['STALE_EPOCH', 'INVALID_ARGUMENT', 'NO_ROOM', 'NO_ROOM', 'NO_ROOM']);
  expect(commandCases()).toEqual(['submit', 'submit', 'cancel']);
});

test('a cancel waits for room in the ring, and no submit overtakes it', () => {
  const desk = createDesk();
  const { link, router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  room = 0;
  router.onMessage(cancelOf('x'));
  router.onMessage(cancelOf('x'));
  room = 1;
  router.onMessage(submitOf('y'));
  expect(link.refusals).toEqual(['NO_ROOM']);
  clock.advance(250);
  expect(commandCases()).toEqual(['submit', 'cancel']);
});

test('a session that breaks cancels what it submitted, and nothing of it is published any more', () => {
  const desk = createDesk();
  const a = openSession(desk, 'a');
  const b = openSession(desk, 'b');
  a.router.onMessage(submitOf('x'));
  b.router.onMessage(submitOf('y'));
  a.router.onBreak(a.link);
  desk.onReport(report(1, [token(a.router, 'x', 0), token(b.router, 'y', 0)]));
  expect(steps).toEqual([{ sequences: 2, tokens: 1 }]);
  expect(commands.at(-1)?.command).toMatchObject({ $case: 'cancel', value: { requestId: 'x', owner: a.router.owner } });
  expect(frames.map(({ routerIncarnation }) => routerIncarnation)).toEqual(['b']);
  expect(desk.runningCount).toBe(1);
});

test('a router that comes back goes on counting frames, and the end of its earlier session changes nothing', () => {
  const desk = createDesk();
  const first = openSession(desk, 'a');
  first.router.onMessage(submitOf('x'));
  desk.onReport(report(1, [token(first.router, 'x', 0)]));
  const second = openSession(desk, 'a');
  expect(first.link.ended?.code).toBe('CANCELLED');
  expect(second.link.lastFrames).toEqual([1]);
  second.router.onMessage(submitOf('y'));
  first.router.onBreak(first.link);
  desk.onReport(report(2, [token(second.router, 'x', 1), token(second.router, 'y', 0)]));
  expect(frames.map(({ sequence, entries }) => [sequence, entries.map(({ requestId }) => requestId)])).toEqual([
    [1, ['x']],
    [2, ['y']],
  ]);
});

test('closing ends every attempt in a last frame, tells its number, ends the sessions and publishes no more', () => {
  const desk = createDesk();
  const a = openSession(desk, 'a');
  const b = openSession(desk, 'b');
  a.router.onMessage(submitOf('x'));
  desk.onReport(report(5, [token(a.router, 'x', 0)]));
  desk.close(new TriremeError('RANK_FAILED', 'rank 1 exited'));
  expect(frames.at(-1)).toMatchObject({ sequence: 2, step: 5, routerIncarnation: 'a' });
  expect(frames.at(-1)?.entries).toMatchObject([{ requestId: 'x', firstPosition: 1, errorCode: 'RANK_FAILED' }]);
  expect(a.link.lastFrames).toEqual([0, 2]);
  expect([a.link.ended?.code, b.link.ended?.code]).toEqual(['RANK_FAILED', 'RANK_FAILED']);
  desk.onReport(report(6, [token(a.router, 'x', 1)]));
  expect([frames.length, desk.runningCount, desk.sessionCount, clock.timerCount]).toEqual([2, 0, 0, 0]);
  expect(steps).toEqual([{ sequences: 1, tokens: 1 }]);
});

test('an acknowledged end frees the journal', () => {
  const desk = createDesk();
  const { router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  desk.onReport(report(1, [token(router, 'x', 0, stop)]));
  expect(desk.unacknowledgedCount).toBe(1);
  router.onMessage({ message: { $case: 'acknowledge', value: { requestId: 'x', attempt: 1 } } });
  expect(desk.unacknowledgedCount).toBe(0);
});

test('a drain is over when the last attempt has ended and its router has all of it', async () => {
  const desk = createDesk();
  const { router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  let over = false;
  const drained = desk.drain().then(() => {
    over = true;
  });
  desk.onReport(report(1, [token(router, 'x', 0)]));
  await Promise.resolve();
  expect(over).toBe(false);
  desk.onReport(report(2, [token(router, 'x', 1, stop)]));
  await Promise.resolve();
  expect(over).toBe(false);
  router.onMessage({ message: { $case: 'acknowledge', value: { requestId: 'x', attempt: 1 } } });
  desk.onReport(report(3, []));
  await drained;
});

test('one router more than may have a session is refused, and of those without one the oldest are forgotten', () => {
  const desk = createDesk({ sessionsMax: 1, pastRoutersMax: 1 });
  const visit = (incarnation: string) => {
    const { link, router } = openSession(desk, incarnation);
    router.onMessage(submitOf(incarnation));
    desk.onReport(report(1, [token(router, incarnation, 0)]));
    expect(() => openSession(desk, 'one more')).toThrow('1 routers have a session');
    router.onBreak(link);
    return link.lastFrames[0];
  };
  expect(['a', 'b', 'b', 'c', 'a'].map(visit)).toEqual([0, 0, 1, 0, 0]);
});

test('a router with a session keeps its place at the limit, and is never among the forgotten', () => {
  const desk = createDesk({ sessionsMax: 2, pastRoutersMax: 1 });
  const stays = openSession(desk, 'stays');
  for (const incarnation of ['b', 'c']) {
    const { link, router } = openSession(desk, incarnation);
    router.onBreak(link);
  }
  stays.router.onMessage(submitOf('x'));
  desk.onReport(report(1, [token(stays.router, 'x', 0)]));
  expect(frames.map(({ routerIncarnation }) => routerIncarnation)).toEqual(['stays']);
  openSession(desk, 'd');
  expect(openSession(desk, 'stays').link.lastFrames).toEqual([1]);
});

test('a router that came back is forgotten after those that did not', () => {
  const desk = createDesk({ pastRoutersMax: 2 });
  const visit = (incarnation: string) => {
    const { link, router } = openSession(desk, incarnation);
    router.onMessage(submitOf(incarnation));
    desk.onReport(report(1, [token(router, incarnation, 0)]));
    router.onBreak(link);
    return link.lastFrames[0];
  };
  expect(['a', 'b', 'a', 'c', 'd', 'a', 'b'].map(visit)).toEqual([0, 0, 1, 0, 0, 2, 0]);
});

test('an answer to an attempt that was cancelled meanwhile is not passed on', () => {
  const desk = createDesk();
  const { link, router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  router.onMessage(cancelOf('x'));
  const answers = [{ owner: router.owner, requestId: 'x', attempt: 1 }];
  desk.onReport(EngineReport.fromPartial({ answers }));
  expect(link.cases).toEqual(['welcome', 'status']);
});

test('a submit that no ring could hold is refused as too large', () => {
  const desk = createDesk();
  const { link, router } = openSession(desk, 'a');
  sendError = new TriremeError('MESSAGE_TOO_LARGE', 'too long');
  router.onMessage(submitOf('x'));
  expect([link.refusals, desk.runningCount]).toEqual([['MESSAGE_TOO_LARGE'], 0]);
});

test('a second Hello ends the session', () => {
  const { link, router } = openSession(createDesk(), 'a');
  router.onMessage({ message: { $case: 'hello', value: { routerIncarnation: 'a', group: 'g', epoch: 3 } } });
  expect(link.ended?.code).toBe('INVALID_ARGUMENT');
});

test('a router that attaches gets what it missed in parts of bounded size, then every frame there and over the bus', () => {
  const desk = createDesk();
  const { router } = openSession(desk, 'a');
  for (const requestId of ['x', 'y']) router.onMessage(submitOf(requestId));
  const long = { ...token(router, 'x', 0), entry: FrameEntry.fromPartial({ requestId: 'x', attempt: 1 }) };
  long.entry.tokenIds = Array(20_000).fill(5);
  desk.onReport(report(1, [long, token(router, 'y', 0)]));
  const sent: Frame[] = [];
  const ends: string[] = [];
  const link = { send: (frame: Frame) => void sent.push(frame), end: ({ code }: TriremeError) => void ends.push(code) };
  const request = { group: 'g', epoch: 3, attempts: [{ requestId: 'x', attempt: 1, from: [1] }] };
  desk.attach(link, { routerIncarnation: 'a', ...request });
  expect(sent).toMatchObject([
    { sequence: 0, covers: 0, routerIncarnation: 'a', entries: [{ requestId: 'x', firstPosition: 1 }] },
    { sequence: 0, covers: 1, entries: [{ requestId: 'y', firstPosition: 0, tokenIds: [0] }] },
  ]);
  desk.onReport(report(2, [token(router, 'y', 1)]));
  expect(sent.at(-1)).toEqual(frames.at(-1));
  expect(sent.at(-1)).toMatchObject({ sequence: 2, covers: 0 });
  const newer = { ...link, send: () => {} };
  desk.attach(newer, { routerIncarnation: 'a', ...request });
  router.detach(link);
  expect(ends).toEqual(['CANCELLED']);
  router.detach(newer);
  desk.onReport(report(3, [token(router, 'y', 2)]));
  expect([sent.length, frames.length]).toEqual([3, 3]);
  expect(() => desk.attach(link, { routerIncarnation: 'nobody', ...request })).toThrow('no session here');
});

test('the end of a group reaches a router that is attached', () => {
  const desk = createDesk();
  const { router } = openSession(desk, 'a');
  router.onMessage(submitOf('x'));
  const seen: string[] = [];
  const link = {
    send: ({ entries, covers }: Frame) =>
      void seen.push(`frame ${entries.map(({ errorCode }) => errorCode)} ${covers}`),
    end: ({ code }: TriremeError) => void seen.push(code),
  };
  desk.attach(link, { routerIncarnation: 'a', group: 'g', epoch: 3, attempts: [] });
  desk.close(new TriremeError('RANK_FAILED', 'gone'));
  expect(seen).toEqual(['frame  0', 'frame RANK_FAILED 0', 'RANK_FAILED']);
});
