import { expect, test } from 'vitest';
import { CoreBench, entry, length, stop } from '../../test/fakes/router-core.ts';

test('a request is submitted, streamed position by position, acknowledged and ended with its usage', () => {
  const bench = new CoreBench();
  expect(bench.open(1, 'g')).toEqual([]);
  expect(bench.request('a')).toEqual(['send 1 submit a#1 n=1 epoch=1']);
  expect(bench.accepted(1, 'a')).toEqual([]);
  expect(bench.frame('g', 1, entry('a', 0, 'he'))).toEqual(['deliver a 0@0+2 "he"']);
  expect(bench.frame('g', 2, entry('a', 2, 'y', length))).toEqual([
    'deliver a 0@2+1 "y" length, usage 3+3',
    'send 1 acknowledge a#1',
    'end a OK',
  ]);
  expect(bench.isIdle).toBe(true);
});

test('choices of one frame travel in one message; the request ends with its last choice', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  expect(bench.request('a', { n: 2 })).toEqual(['send 1 submit a#1 n=2 epoch=1']);
  expect(bench.frame('g', 1, entry('a', 0, 'x'), entry('a', 0, 'y', { choice: 1, ...stop }))).toEqual([
    'deliver a 0@0+1 "x", 1@0+1 "y" stop',
  ]);
  expect(bench.frame('g', 2, entry('a', 1, 'z', stop)).at(-1)).toBe('end a OK');
});

test('what comes twice, from another epoch, attempt, incarnation or group is dropped', () => {
  const bench = new CoreBench();
  bench.open(1, 'g', { epoch: 1, lastFrame: 5 });
  bench.request('a');
  expect(bench.frame('g', 5, entry('a', 0, 'x'))).toEqual([]);
  expect(bench.frame('g', 6, entry('a', 0, 'x', { attempt: 2 }))).toEqual([]);
  expect(bench.frameOf({ group: 'g', sequence: 7, epoch: 0 }, entry('a', 0, 'x'))).toEqual([]);
  expect(bench.frameOf({ group: 'g', sequence: 7, routerIncarnation: 'r0' }, entry('a', 0, 'x'))).toEqual([]);
  expect(bench.frame('h', 7, entry('a', 0, 'x'))).toEqual([]);
  expect(bench.frame('g', 7, entry('a', 0, 'ab'))).toEqual(['deliver a 0@0+2 "ab"']);
  expect(bench.frame('g', 7, entry('a', 0, 'ab'))).toEqual([]);
  expect(bench.frame('g', 8, entry('a', 1, 'bc'))).toEqual(['deliver a 0@2+1 "c"']);
  expect(bench.router.stats.staleFrames).toBe(5);
});

test('frames that overtake each other are put in order', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  expect(bench.frame('g', 2, entry('a', 1, 'b'))).toEqual([]);
  expect(bench.frame('g', 3, entry('a', 2, 'c', stop))).toEqual([]);
  expect(bench.frame('g', 1, entry('a', 0, 'a'))[0]).toBe('deliver a 0@0+3 "abc" stop, usage 3+3');
  expect(bench.isIdle).toBe(true);
});

test('a frame that is late is asked for over gRPC, and what comes from there fills the gap', () => {
  const bench = new CoreBench({ frameGrace: 200 });
  bench.open(1, 'g');
  for (const id of ['a', 'b']) [bench.request(id), bench.accepted(1, id)];
  bench.frame('g', 1, entry('a', 0, 'a'), entry('b', 0, 'b'));
  bench.frame('g', 3, entry('a', 1, 'a'), entry('b', 2, 'b'));
  expect([...bench.status(1, 3), ...bench.wait(100)]).toEqual([]);
  expect(bench.wait(100)).toEqual(['attach 1 a#1@2 b#1@1']);
  expect(bench.attached(1, { covers: 3 }, entry('b', 1, 'ob'))).toEqual(['deliver b 0@1+2 "ob"']);
  expect(bench.attached(1, { sequence: 4 }, entry('b', 3, '!'))).toEqual(['deliver b 0@3+1 "!"']);
  expect(bench.frame('g', 4, entry('b', 3, '!'))).toEqual([]);
  expect(bench.router.stats).toMatchObject({ attaches: 1, lostFrames: 0, staleFrames: 0 });
});

test('frames come over gRPC until the bus has brought enough of them in time', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.accepted(1, 'a');
  expect(bench.bus(false)).toEqual(['attach 1 a#1@0']);
  bench.attached(1, { covers: 0 });
  bench.bus(true);
  for (let sequence = 1; sequence <= 15; sequence++) {
    bench.attached(1, { sequence }, entry('a', sequence - 1, 'x'));
    expect([...bench.frame('g', sequence, entry('a', sequence - 1, 'x')), ...bench.tick()]).toEqual([]);
  }
  bench.attached(1, { sequence: 21 }, entry('a', 15, 'xxxxxx'));
  bench.frame('g', 16, entry('a', 15, 'x'));
  for (let sequence = 22; sequence < 38; sequence++) {
    expect(bench.tick()).toEqual([]);
    bench.frame('g', sequence, entry('a', sequence - 1, 'x'));
  }
  expect(bench.tick()).toEqual(['detach 1']);
  expect(bench.bus(false)).toEqual(['attach 1 a#1@37']);
});

test('a leader without the bus is attached at once, and again when its frames end', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.accepted(1, 'a');
  expect(bench.status(1, 0, {}, { busLost: true })).toEqual(['attach 1 a#1@0']);
  expect(bench.status(1, 0, {}, { busLost: true })).toEqual([]);
  bench.step({ kind: 'attach-ended', session: 1 });
  expect(bench.tick()).toEqual(['attach 1 a#1@0']);
  bench.status(1, 0);
  expect(bench.attached(1, { sequence: 1 }, entry('a', 0, 'x', stop)).at(-1)).toBe('end a OK');
  expect(bench.tick()).toEqual(['detach 1']);
});

test('requests whose tokens never come move to another group, and no others', () => {
  const bench = new CoreBench({ frameGrace: 10_000, gapLimit: 500 });
  bench.open(1, 'g');
  for (const id of ['a', 'b']) bench.request(id);
  bench.frame('g', 1, entry('a', 0, 'a'), entry('b', 0, 'b'));
  bench.frame('g', 3, entry('a', 1, 'a'), entry('b', 2, 'b'));
  bench.open(2, 'h');
  expect(bench.request('c')).toEqual(['send 2 submit c#1 n=1 epoch=1']);
  expect(bench.wait(400)).toEqual([]);
  expect(bench.wait(100)).toEqual([
    'send 1 cancel b#1 []',
    'send 1 acknowledge b#1',
    'send 2 submit b#2 n=1 epoch=1 emitted=1',
  ]);
  expect(bench.frame('g', 4, entry('b', 2, 'b'))).toEqual([]);
  expect(bench.frame('h', 1, entry('b', 1, 'y', { attempt: 2, ...stop })).at(-1)).toBe('end b OK');
});

test("a last frame that is lost shows by the leader's status", () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.frame('g', 1, entry('a', 0, 'a'));
  bench.status(1, 2);
  expect(bench.wait(100)).toEqual(['attach 1 a#1@1']);
});

test('positions that the leader itself leaves out move the request at once', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  expect(bench.frame('g', 1, entry('a', 1, 'b')).at(-1)).toBe('send 1 submit a#2 n=1 epoch=1');
});

test('so do positions that it leaves out of a repetition', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.frame('g', 2, entry('a', 1, 'b'));
  expect(bench.wait(100)).toEqual(['attach 1 a#1@0']);
  expect(bench.attached(1, { covers: 2 }).at(-1)).toBe('send 1 submit a#2 n=1 epoch=1');
});

test('entries that wait for a missing frame are not kept without end', () => {
  const bench = new CoreBench({ frameGrace: 1_000_000, gapLimit: 1_000_000 });
  bench.open(1, 'g');
  bench.request('a');
  const lines = [];
  for (let sequence = 2; lines.length === 0; sequence++) {
    expect(sequence).toBeLessThan(2000);
    lines.push(...bench.frame('g', sequence, entry('a', sequence, 'x')));
  }
  expect(lines.at(-1)).toBe('send 1 submit a#2 n=1 epoch=1');
});

test('a group without room is left for the next, and the request waits when there is none', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.open(2, 'h');
  expect(bench.request('a')).toEqual(['send 1 submit a#1 n=1 epoch=1']);
  expect(bench.refused(1, 'a', 'NO_ROOM')).toEqual(['send 2 submit a#2 n=1 epoch=1']);
  expect(bench.refused(2, 'a', 'NO_ROOM', 2)).toEqual([]);
  expect([bench.router.activeCount, bench.router.queuedCount]).toEqual([0, 1]);
  expect(bench.status(2, 0)).toEqual(['send 2 submit a#3 n=1 epoch=1']);
  expect(bench.frame('g', 1, entry('a', 0, 'x'))).toEqual([]);
  expect(bench.frame('h', 1, entry('a', 0, 'y', { attempt: 3, ...stop })).at(-1)).toBe('end a OK');
});

test('a refusal for another reason is the answer', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  expect(bench.refused(1, 'a', 'PROMPT_TOO_LONG')).toEqual(['end a PROMPT_TOO_LONG: it is PROMPT_TOO_LONG']);
  bench.request('b');
  expect(bench.refused(1, 'b', 'WHATEVER').at(-1)).toMatch(/^end b INTERNAL/);
  expect(bench.isIdle).toBe(true);
});

test('a leader that has moved on is given up, and its request goes elsewhere', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.open(2, 'h');
  expect(bench.refused(1, 'a', 'STALE_EPOCH')).toEqual([
    'close 1: the leader of group g is given up: it is STALE_EPOCH',
    'send 2 submit a#2 n=1 epoch=1',
  ]);
});

test('a request waits for a group, so long and no longer', () => {
  const bench = new CoreBench({ maxQueueWait: 1000 });
  expect(bench.request('a')).toEqual([]);
  expect(bench.wait(900)).toEqual([]);
  expect(bench.request('b', { model: 'other' })).toEqual([]);
  expect(bench.wait(100)).toEqual(['end a UNAVAILABLE: no group of m was ready within 1000 ms']);
  bench.open(1, 'g');
  for (const id of ['1', '2', '3', '4', 'full']) bench.request(id);
  expect(bench.router.queuedCount).toBe(2);
  const late = [];
  for (let i = 0; i < 10; i++) late.push(...bench.status(1, 0, { running: 4 }), ...bench.wait(100));
  expect(late).toContain('end full NO_ROOM: no group of m had room within 1000 ms');
});

test('the queue is bounded, and whoever waits comes in the order of arrival', () => {
  const bench = new CoreBench({ maxActiveRequests: 1, maxQueuedRequests: 2 });
  bench.open(1, 'g');
  bench.request('a');
  expect([...bench.request('b'), ...bench.request('c')]).toEqual([]);
  expect(bench.request('d')).toEqual(['end d NO_ROOM: 2 requests wait for a group already']);
  expect(bench.frame('g', 1, entry('a', 0, 'x', stop)).slice(-2)).toEqual([
    'end a OK',
    'send 1 submit b#1 n=1 epoch=1',
  ]);
  expect(bench.abandon('c')).toEqual(['end c CANCELLED: gone']);
  expect(bench.abandon('b').at(-1)).toBe('end b CANCELLED: gone');
  expect(bench.isIdle).toBe(true);
});

test('a cancelled request is cancelled at its leader, and what still comes for it is dropped', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.frame('g', 1, entry('a', 0, 'x'));
  expect(bench.abandon('a')).toEqual(['send 1 cancel a#1 []', 'send 1 acknowledge a#1', 'end a CANCELLED: gone']);
  expect(bench.frame('g', 2, entry('a', 1, 'y', stop))).toEqual([]);
  expect(bench.abandon('a')).toEqual([]);
  expect(bench.isIdle).toBe(true);
});

test('what a session carried goes on at another group when it breaks, unless frames are still under way', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { n: 2 });
  bench.frame('g', 1, entry('a', 0, 'xy'), entry('a', 0, 'z', { choice: 1, ...stop }));
  expect(bench.ended(1)).toEqual([]);
  expect([bench.router.activeCount, bench.router.queuedCount]).toEqual([0, 1]);
  expect(bench.open(2, 'h')).toEqual(['send 2 submit a#2 n=2 epoch=1 emitted=2,1.']);
  bench.request('b');
  bench.request('c');
  bench.status(2, 1);
  expect(bench.ended(2)).toEqual([]);
  expect(bench.frame('h', 1, entry('b', 0, 'x', stop), entry('a', 2, 'z', { attempt: 2 }))).toEqual([
    'deliver b 0@0+1 "x" stop, usage 3+1',
    'send 2 acknowledge b#1',
    'end b OK',
    'deliver a 0@2+1 "z"',
  ]);
  expect(bench.router.sessionCount).toBe(0);
  expect(bench.open(3, 'h')).toEqual(['send 3 submit c#2 n=1 epoch=1', 'send 3 submit a#3 n=2 epoch=1 emitted=3,1.']);
});

test('frames that never come after a break do not keep its requests waiting', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.open(2, 'h');
  bench.request('a');
  bench.frame('g', 1, entry('a', 0, 'x'));
  bench.status(1, 2);
  expect(bench.ended(1)).toEqual([]);
  expect(bench.wait(100)).toEqual(['send 2 submit a#2 n=1 epoch=1 emitted=1']);
});

test('a stream goes on only at a group that gives the same bits', () => {
  const bench = new CoreBench({ maxMoveWait: 300 });
  bench.fleet.put('g', 1, { streamDigest: 'd' });
  bench.fleet.put('h', 1, { streamDigest: 'e' });
  bench.fleet.put('i', 1, { streamDigest: 'd' });
  bench.open(1, 'g');
  for (const id of ['a', 'b', 'c']) bench.request(id);
  bench.frame('g', 1, entry('a', 0, 'x'), entry('c', 0, 'x'));
  bench.open(2, 'h');
  expect(bench.ended(1)).toEqual(['send 2 submit b#2 n=1 epoch=1']);
  expect(bench.open(3, 'i')[0]).toBe('send 3 submit a#2 n=1 epoch=1 emitted=1');
  bench.ended(3);
  expect(bench.wait(300)).toEqual([
    'end a NO_ROOM: no group of m had room within 300 ms',
    'end c NO_ROOM: no group of m had room within 300 ms',
  ]);
});

test('a request moves so often and no more', () => {
  const bench = new CoreBench({ maxMoves: 2 });
  bench.open(1, 'g');
  bench.request('a');
  for (const session of [1, 2]) {
    bench.frame('g', 1, entry('a', session - 1, 'x', { attempt: session }));
    bench.ended(session);
    expect(bench.open(session + 1, 'g')).toEqual([
      `send ${session + 1} submit a#${session + 1} n=1 epoch=1 emitted=${session}`,
    ]);
  }
  bench.frame('g', 1, entry('a', 2, 'x', { attempt: 3 }));
  expect(bench.ended(3)).toEqual([expect.stringMatching(/^end a MOVES_EXHAUSTED: the request lost its group 3 times/)]);
});

test('a request that two groups die of is not given to a third; those beside it are', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  for (const id of ['poison', 'new', 'old']) bench.request(id);
  bench.frame('g', 1, entry('old', 0, 'x'));
  bench.ended(1);
  expect(bench.open(2, 'h')).toEqual([
    'send 2 submit old#2 n=1 epoch=1 emitted=1',
    'send 2 submit poison#2 n=1 epoch=1',
  ]);
  expect(bench.ended(2)).toEqual([expect.stringMatching(/^end poison POISON_REQUEST: two groups died/)]);
  expect(bench.open(3, 'i')).toEqual(['send 3 submit old#3 n=1 epoch=1 emitted=1']);
  expect(bench.frame('i', 1, entry('old', 1, 'x', { attempt: 3 }))).toEqual([
    'deliver old 0@1+1 "x"',
    'send 3 submit new#2 n=1 epoch=1',
  ]);
});

test('a group that ends as planned casts no suspicion', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  for (const session of [1, 2]) {
    bench.ended(session, { planned: true });
    expect(bench.open(session + 1, 'g')).toEqual([`send ${session + 1} submit a#${session + 1} n=1 epoch=1`]);
  }
  const gone = { requestId: 'a', attempt: 3, errorCode: 'UNAVAILABLE', errorMessage: 'the worker stops' };
  expect(bench.frame('g', 1, gone).at(-1)).toBe('send 3 submit a#4 n=1 epoch=1');
});

test('a silent leader is dead after a second', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.wait(100);
  bench.request('a');
  bench.wait(800);
  bench.status(1, 0);
  expect(bench.wait(900)).toEqual([]);
  expect(bench.wait(100)).toEqual(['close 1: the leader of group g is given up: it said nothing for 1000 ms']);
  expect(bench.router.queuedCount).toBe(1);
});

test('a pause of the router itself is not taken for silence', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.wait(100);
  bench.nowMs += 60_000;
  expect(bench.wait(100)).toEqual([]);
});

test('a leader that speaks but whose step does not end is dead, the sooner the better its pace is known', () => {
  const silent = { running: 1, waiting: 0 };
  const pace = (stepMs: number, limits = {}) => {
    const bench = new CoreBench(limits);
    bench.open(1, 'g');
    bench.request('a');
    let step = 0;
    for (let i = 0; i < 8; i++) {
      bench.wait(stepMs);
      bench.status(1, 0, { ...silent, step: ++step });
    }
    let stillMs = 0;
    while (bench.router.sessionCount > 0) {
      stillMs += 100;
      bench.wait(100);
      bench.status(1, 0, { ...silent, step });
    }
    return stillMs;
  };
  expect(pace(100)).toBe(2000);
  expect(pace(400)).toBe(4000);
  expect(pace(400, { stallSteps: 20 })).toBe(8000);
  const unknown = new CoreBench();
  unknown.open(1, 'g');
  unknown.wait(100);
  unknown.request('a');
  for (let i = 0; i < 99; i++) expect([...unknown.wait(100), ...unknown.status(1, 0, silent)]).toEqual([]);
  expect(unknown.wait(100)[0]).toMatch(/^close 1: .*its step 1 did not end within 10000 ms/);
});

test('an idle leader may stand still', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  for (let i = 0; i < 300; i++) expect([...bench.wait(100), ...bench.status(1, 0)]).toEqual([]);
});

test('rest between requests does not count as slow steps', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  for (let step = 1; step <= 5; step++) {
    for (let i = 0; i < 100; i++) expect([...bench.wait(100), ...bench.status(1, 0, { step: step - 1 })]).toEqual([]);
    bench.status(1, 0, { step, running: 1 });
  }
  bench.request('a');
  let stillMs = 0;
  for (; bench.router.sessionCount > 0; stillMs += 100) [bench.wait(100), bench.status(1, 0, { step: 5, running: 1 })];
  expect(stillMs).toBe(2000);
});

test('a submit that is never answered moves its request', () => {
  const bench = new CoreBench({ answerLimit: 3000 });
  bench.open(1, 'g');
  bench.request('a');
  const lines = [];
  for (let step = 1; step <= 30; step++) lines.push(...bench.wait(100), ...bench.status(1, 0, { step, running: 1 }));
  expect(lines).toEqual(['send 1 cancel a#1 []', 'send 1 acknowledge a#1', 'send 1 submit a#2 n=1 epoch=1']);
});

test('an error of one choice is the end of the request, the other choices are cancelled', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { n: 2 });
  const failed = { requestId: 'a', choice: 1, errorCode: 'RUNTIME_ERROR', errorMessage: 'a kernel failed' };
  expect(bench.frame('g', 1, entry('a', 0, 'x'), failed)).toEqual([
    'deliver a 0@0+1 "x"',
    'send 1 cancel a#1 []',
    'send 1 acknowledge a#1',
    'end a RUNTIME_ERROR: a kernel failed',
  ]);
});

test('a lost rank is the end of the group, not of its requests', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.open(2, 'h');
  for (const id of ['a', 'b', 'c']) bench.request(id);
  const lost = { errorCode: 'RANK_FAILED', errorMessage: 'rank 1 is gone' };
  expect(bench.frame('g', 1, entry('a', 0, 'x'), { requestId: 'c', ...lost })).toEqual([
    'deliver a 0@0+1 "x"',
    'close 1: the leader of group g is given up: group g failed: rank 1 is gone',
    'send 2 submit c#2 n=1 epoch=1',
    'send 2 submit a#2 n=1 epoch=1 emitted=1',
  ]);
});

test('a stop string ends its choice before the match and cancels it at the leader', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { n: 2, stop: ['END'] });
  expect(bench.frame('g', 1, entry('a', 0, 'so E'), entry('a', 0, 'E', { choice: 1 }))).toEqual([
    'deliver a 0@0+4 "so ", 1@0+1 ""',
  ]);
  expect(bench.frame('g', 2, entry('a', 4, 'NDless'))).toEqual(['send 1 cancel a#1 [0]', 'deliver a 0@4+2 "" stop']);
  expect(bench.frame('g', 3, entry('a', 10, 'x'), entry('a', 1, 'x', { choice: 1, ...length }))).toEqual([
    'deliver a 1@1+1 "Ex" length, usage 3+8',
    'send 1 acknowledge a#1',
    'end a OK',
  ]);
});

test('a stop string counts only after min_tokens tokens', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { stop: ['.'], minTokens: 3 });
  expect(bench.frame('g', 1, entry('a', 0, 'a..'))).toEqual(['deliver a 0@0+3 "a.."']);
  expect(bench.frame('g', 2, entry('a', 3, 'b.c')).at(1)).toBe('deliver a 0@3+2 "b" stop, usage 3+5');
});

test('logprobs stay beside their tokens wherever an entry is cut', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { stop: ['d'] });
  const logprobs = (...values: number[]) => ({ logprobs: values.map((logprob) => ({ logprob, top: [] })) });
  const delivered: number[] = [];
  const feed = (sequence: number, from: number, text: string, ...values: number[]) => {
    for (const action of bench.step({
      kind: 'frame',
      frame: {
        ...{ group: 'g', epoch: 1, sequence, step: 1, routerIncarnation: 'r1', covers: 0 },
        entries: [
          {
            choice: 0,
            attempt: 1,
            errorCode: '',
            errorMessage: '',
            embedding: [],
            ...entry('a', from, text),
            ...logprobs(...values),
          },
        ],
      },
    })) {
      if (action.kind !== 'deliver') continue;
      for (const { tokenIds, logprobs: own } of action.response.choices) {
        expect(own).toHaveLength(tokenIds.length);
        delivered.push(...own.map(({ logprob }) => logprob));
      }
    }
  };
  feed(1, 0, 'ab', -1, -2);
  feed(2, 1, 'bc', -2, -3);
  feed(3, 3, 'de', -4, -5);
  expect(delivered).toEqual([-1, -2, -3, -4]);
});

test('load goes to the emptier group, counting what was sent since the leader last spoke', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.open(2, 'h');
  bench.status(1, 0, { running: 2 });
  expect(['a', 'b', 'c'].flatMap((id) => bench.request(id))).toEqual([
    'send 2 submit a#1 n=1 epoch=1',
    'send 2 submit b#1 n=1 epoch=1',
    'send 1 submit c#1 n=1 epoch=1',
  ]);
});

test('a group that drains keeps its streams and gets no more', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.fleet.put('g', 1, { state: 4 });
  expect(bench.request('b')).toEqual([]);
  expect(bench.frame('g', 1, entry('a', 0, 'x', stop)).at(-1)).toBe('end a OK');
  expect(bench.router.isReady).toBe(false);
});

test('a session for an epoch that has passed is closed, a newer one takes the place of the old', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.fleet.put('g', 2);
  expect(bench.open(2, 'g', { epoch: 2 })).toEqual(['send 2 submit a#2 n=1 epoch=2']);
  bench.fleet.put('g', 3);
  expect(bench.open(3, 'g', { epoch: 3 })).toEqual(['send 3 submit a#3 n=1 epoch=3']);
  const stale = bench.step({
    ...{ kind: 'session-opened', session: 4, group: 'g', epoch: 2, lastFrame: 0 },
    engine: undefined!,
  });
  expect(stale[0]).toMatchObject({ kind: 'close-session', session: 4 });
  expect(bench.router.sessionCount).toBe(1);
});

test('a group is full by what it was sent, not by what it answered, until its leader speaks again', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  const ids = ['a', 'b', 'c', 'd'];
  for (const id of ids) expect(bench.request(id)).toHaveLength(1);
  expect(bench.request('e')).toEqual([]);
  for (const id of ids.slice(2)) bench.accepted(1, id);
  expect(bench.request('f')).toEqual([]);
  for (const id of [...ids, 'e', 'f']) bench.abandon(id);
  expect([bench.isIdle, bench.request('g')]).toEqual([true, []]);
  expect(bench.status(1, 0)).toHaveLength(1);
  expect(['h', 'i', 'j'].flatMap((id) => bench.request(id))).toHaveLength(3);
});

test('whoever a group turned away keeps its place before those who came later', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  for (const id of ['a', 'b', 'c', 'd', 'e']) bench.request(id);
  expect(bench.refused(1, 'd', 'NO_ROOM')).toEqual([]);
  expect(bench.status(1, 0)[0]).toBe('send 1 submit d#2 n=1 epoch=1');
});

test('a frame of one group says nothing of a request at another', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  bench.open(2, 'h');
  expect(bench.frame('h', 1, entry('a', 0, 'x'))).toEqual([]);
});

test('of a request with several choices a lost frame matters as long as one of them may have been in it', () => {
  const bench = new CoreBench({ gapLimit: 500 });
  bench.open(1, 'g');
  bench.request('a', { n: 2 });
  bench.frame('g', 2, entry('a', 0, 'x', { choice: 1 }));
  expect(bench.wait(500).at(-1)).toBe('send 1 submit a#2 n=2 epoch=1 emitted=0,1');
});

test('an error for a choice that a stop string has ended is of no interest', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a', { n: 2, stop: ['x'] });
  bench.frame('g', 1, entry('a', 0, 'x'));
  expect(bench.frame('g', 2, { requestId: 'a', errorCode: 'INTERNAL', errorMessage: 'late' })).toEqual([]);
});

test('tokens that a leader repeats in an earlier frame do not make later ones suspect', () => {
  const bench = new CoreBench({ gapLimit: 500 });
  bench.open(1, 'g');
  bench.request('a');
  bench.frame('g', 4, entry('a', 0, 'xy'));
  bench.frame('g', 2, entry('a', 0, 'x'));
  expect(bench.wait(500)).toEqual(['attach 1 a#1@2']);
});

test('a leader that counts frames nobody sent is given up', () => {
  const bench = new CoreBench();
  bench.open(1, 'g');
  bench.request('a');
  expect(bench.status(1, 1_000_000)[0]).toMatch(/^close 1: .*counts frames/);
  bench.open(2, 'h');
  expect(bench.frame('h', 1_000_000, entry('a', 0, 'x', { attempt: 2 }))[0]).toMatch(/^close 2: .*counts frames/);
  expect(bench.router.sessionCount).toBe(0);
});
