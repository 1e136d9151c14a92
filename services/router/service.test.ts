import { afterEach, beforeAll, expect, test } from 'vitest';
import type { Bus } from '#platform/bus.ts';
import { systemClock } from '#platform/clock.ts';
import { Metrics } from '#platform/metrics.ts';
import { systemRandom } from '#platform/random.ts';
import type { Store } from '#platform/store.ts';
import { FinishReason, InferenceService } from '#proto/inference.ts';
import { groupKey, workerKey } from '#proto/keys.ts';
import { GroupState, WorkerRecord } from '#proto/records.ts';
import { loadTokenizer, type Tokenizer } from '#tokenizer/tokenizer.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { type FakeLeader, logprobOf, makeUp } from '../../test/fakes/fake-leader.ts';
import { demoPackage, type RequestParts, RouterWorld } from '../../test/fakes/router-world.ts';
import { defaultConfig } from './config.ts';
import { startRouter } from './service.ts';

let demo: Tokenizer;
beforeAll(async () => {
  demo = await loadTokenizer(demoPackage);
});

let world: RouterWorld | undefined;
afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function start(...options: Parameters<typeof RouterWorld.start>): Promise<RouterWorld> {
  world = await RouterWorld.start(...options);
  return world;
}

const text = (value: string) => ({ prompt: { $case: 'text', value } }) as const;
const endless = { sampling: { maxTokens: 1_000_000 } };

/** What the leader makes up for the first choices. */
function madeUp(leader: FakeLeader, choice: number, count: number): number[] {
  const submit = leader.submits.at(-1)!;
  return Array.from({ length: count }, (_, position) => makeUp(submit, choice, position));
}

async function expectIdle(at: RouterWorld, ...leaders: FakeLeader[]): Promise<void> {
  await eventually(async () => {
    const { router } = await at.status();
    expect(router).toMatchObject({ activeRequests: 0, queuedRequests: 0 });
    for (const leader of leaders) expect(leader.runningCount).toBe(0);
  });
}

test('text goes in, text comes out, token by token, with its ids and the usage at the end', async () => {
  await start();
  const leader = await world!.lead();
  const answer = await world!.generate({ ...text('What is 17 + 25?'), sampling: { maxTokens: 40 } });
  const ids = madeUp(leader, 0, 40);
  expect(answer.choices).toEqual([
    { ids, text: demo.decode(ids, { continues: true }), finish: FinishReason.FINISH_REASON_LENGTH },
  ]);
  expect(leader.submits[0]).toMatchObject({ prompt: demo.encode('What is 17 + 25?'), attempt: 1, n: 1, epoch: 1 });
  const usages = answer.messages.flatMap(({ usage }) => usage ?? []);
  expect(usages).toEqual([{ promptTokens: demo.encode('What is 17 + 25?').length, completionTokens: 40 }]);
  expect(new Set(answer.messages.map(({ requestId, group }) => `${requestId} ${group}`)).size).toBe(1);
  await leader.until(() => leader.acknowledges.length === 1);
  expect(leader.cancels).toEqual([]);
  await expectIdle(world!, leader);
});

test('a chat is rendered by the template of the model', async () => {
  await start();
  const leader = await world!.lead();
  const messages = [{ role: 'user', content: 'hi' }];
  const chat = { prompt: { $case: 'chat', value: { messages } } } as const;
  await world!.generate({ ...chat, model: 'demo', sampling: { maxTokens: 1 } });
  expect(leader.submits[0]?.prompt).toEqual(demo.chat({ messages }).ids);
});

test('what a client leaves out comes from generation_config.json, and the seed is drawn', async () => {
  await start();
  const leader = await world!.lead();
  await world!.generate({ ...text('a'), sampling: { maxTokens: 1 } });
  await world!.generate({ ...text('a'), sampling: { maxTokens: 1, temperature: 0.5, seed: '18446744073709551615' } });
  const [first, second] = leader.submits.map(({ sampling }) => sampling!);
  expect(first).toMatchObject({
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    minTokens: 0,
    stop: [],
  });
  expect(first?.seed).toMatch(/^\d+$/);
  expect(second).toMatchObject({ temperature: 0.5, seed: '18446744073709551615' });
});

test('several choices stream side by side, each with its logprobs', async () => {
  await start();
  const leader = await world!.lead();
  const answer = await world!.generate({ ...text('a'), n: 3, sampling: { maxTokens: 5, logprobs: 1 } });
  expect(answer.choices.map(({ ids }) => ids)).toEqual([0, 1, 2].map((choice) => madeUp(leader, choice, 5)));
  expect(answer.messages).toHaveLength(5);
  for (const { tokenIds, logprobs } of answer.messages.flatMap(({ choices }) => choices)) {
    expect(logprobs).toEqual(tokenIds.map(logprobOf));
  }
});

test('a stop string ends the text before it, whichever tokens it is spread over, and the engine is told', async () => {
  const written = demo.encode('one two three four');
  await start();
  const leader = await world!.lead({ tokens: (_submit, _choice, position) => written[position % written.length] });
  const answer = await world!.generate({ ...text('a'), sampling: { stop: ['zzz', 'wo thr'] } });
  expect(answer.choices[0]).toMatchObject({ text: 'one t', finish: FinishReason.FINISH_REASON_STOP });
  expect(answer.messages.at(-1)?.usage?.completionTokens).toBe(answer.choices[0]?.ids.length);
  expect(demo.decode(answer.choices[0]!.ids)).toContain('wo thr');
  await leader.until(() => leader.cancels.length > 0 && leader.acknowledges.length > 0);
  expect(leader.cancels[0]?.choices).toEqual([0]);
  await expectIdle(world!, leader);
});

test.for<[string, RequestParts, string, RegExp]>([
  ['no prompt', {}, 'INVALID_ARGUMENT', /no prompt/],
  ['an empty text', text(''), 'INVALID_ARGUMENT', /empty/],
  ['no token ids', { prompt: { $case: 'tokenIds', value: { ids: [] } } }, 'INVALID_ARGUMENT', /empty/],
  ['no messages', { prompt: { $case: 'chat', value: { messages: [] } } }, 'INVALID_ARGUMENT', /empty/],
  [
    'a message without a role',
    { prompt: { $case: 'chat', value: { messages: [{ content: 'a' }] } } },
    'INVALID_ARGUMENT',
    /role/,
  ],
  ['an unknown model', { ...text('a'), model: 'gpt' }, 'UNKNOWN_MODEL', /"gpt"/],
  [
    'too many tokens',
    { prompt: { $case: 'tokenIds', value: { ids: Array(2048).fill(7) } } },
    'PROMPT_TOO_LONG',
    /2048/,
  ],
  ['a long text', text('word '.repeat(2100)), 'PROMPT_TOO_LONG', /tokens/],
  ['a text that no vocabulary could fit', text('a'.repeat(500_000)), 'PROMPT_TOO_LONG', /500000 characters/],
  ['too many choices', { ...text('a'), n: 129 }, 'INVALID_ARGUMENT', /n must be at most 128/],
  ['a long id', { ...text('a'), requestId: 'x'.repeat(129) }, 'INVALID_ARGUMENT', /request_id/],
  ['negative max_tokens', { ...text('a'), sampling: { maxTokens: -1 } }, 'INVALID_ARGUMENT', /max_tokens .* -1/],
  ['zero max_tokens', { ...text('a'), sampling: { maxTokens: 0 } }, 'INVALID_ARGUMENT', /max_tokens/],
  ['negative min_tokens', { ...text('a'), sampling: { minTokens: -1 } }, 'INVALID_ARGUMENT', /min_tokens/],
  [
    'min above max',
    { ...text('a'), sampling: { minTokens: 3, maxTokens: 2 } },
    'INVALID_ARGUMENT',
    /min_tokens must be at most/,
  ],
  ['a negative temperature', { ...text('a'), sampling: { temperature: -1 } }, 'INVALID_ARGUMENT', /temperature/],
  [
    'a temperature that is no number',
    { ...text('a'), sampling: { temperature: Number.NaN } },
    'INVALID_ARGUMENT',
    /temperature/,
  ],
  ['an infinite temperature', { ...text('a'), sampling: { temperature: Infinity } }, 'INVALID_ARGUMENT', /temperature/],
  ['top_p of 0', { ...text('a'), sampling: { topP: 0 } }, 'INVALID_ARGUMENT', /top_p/],
  ['min_p of 1', { ...text('a'), sampling: { minP: 1 } }, 'INVALID_ARGUMENT', /min_p/],
  [
    'a presence penalty of 3',
    { ...text('a'), sampling: { presencePenalty: 3 } },
    'INVALID_ARGUMENT',
    /presence_penalty/,
  ],
  [
    'a frequency penalty of -3',
    { ...text('a'), sampling: { frequencyPenalty: -3 } },
    'INVALID_ARGUMENT',
    /frequency_penalty/,
  ],
  [
    'no repetition penalty',
    { ...text('a'), sampling: { repetitionPenalty: 0 } },
    'INVALID_ARGUMENT',
    /repetition_penalty/,
  ],
  ['too many logprobs', { ...text('a'), sampling: { logprobs: 21 } }, 'INVALID_ARGUMENT', /logprobs/],
  [
    'an endless bias',
    { ...text('a'), sampling: { logitBias: [{ bias: Infinity }] } },
    'INVALID_ARGUMENT',
    /logit_bias/,
  ],
  [
    '17 stop strings',
    { ...text('a'), sampling: { stop: Array(17).fill('x') } },
    'INVALID_ARGUMENT',
    /stop must be at most 16/,
  ],
  ['an empty stop string', { ...text('a'), sampling: { stop: ['x', ''] } }, 'INVALID_ARGUMENT', /stop/],
  [
    'too many stop tokens',
    { ...text('a'), sampling: { stopTokenIds: Array(1025).fill(1) } },
    'INVALID_ARGUMENT',
    /stop_token_ids/,
  ],
])('a request with %s is refused before any group hears of it', async ([, request, code, message]) => {
  await start();
  const leader = await world!.lead();
  await expect(world!.generate(request)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  expect(leader.submits).toEqual([]);
});

test('unknown models are answered with those there are; without a name the only one is meant', async () => {
  await start({}, null);
  await expect(world!.generate(text('a'))).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' });
  await world!.serveModel('demo');
  await world!.serveModel('other');
  await expect(world!.generate({ ...text('a'), model: 'x' })).rejects.toMatchObject({
    remedy: 'served are: demo, other',
  });
  await expect(world!.generate(text('a'))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    remedy: 'name one of: demo, other',
  });
  const { models } = await world!.client.unary(InferenceService.listModels, {}, { timeoutMs: 5000 });
  expect(models[0]).toEqual({ name: 'demo', family: 'qwen3_moe', contextLength: 2048, readyGroups: 0 });
});

test('a model whose package has no tokenizer says so to its requests', async () => {
  await start({}, { packagePath: import.meta.dirname });
  await expect(world!.generate(text('a'))).rejects.toMatchObject({ code: 'MISSING_TOKENIZER' });
});

test('a request id is that of one request until it has ended', async () => {
  await start();
  const leader = await world!.lead();
  const request = { ...text('a'), requestId: 'mine', ...endless };
  const stream = world!.stream(request)[Symbol.asyncIterator]();
  expect((await stream.next()).value?.requestId).toBe('mine');
  await expect(world!.generate({ ...request, n: 2 })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('in flight'),
  });
  const cancel = () => world!.client.unary(InferenceService.cancel, { requestId: 'mine' }, { timeoutMs: 5000 });
  expect(await cancel()).toEqual({ found: true });
  await expect(drainOf(stream)).rejects.toMatchObject({ code: 'CANCELLED' });
  expect(await cancel()).toEqual({ found: false });
  await leader.until(() => leader.cancels.length === 1);
  await expectIdle(world!, leader);
  await world!.generate({ ...request, sampling: { maxTokens: 1 } });
});

async function drainOf(stream: AsyncIterator<unknown>): Promise<number> {
  let count = 0;
  while (!(await stream.next()).done) count++;
  return count;
}

test('a client that goes away is cancelled at the engine', async () => {
  await start();
  const leader = await world!.lead();
  const gone = new AbortController();
  const stream = world!.stream({ ...text('a'), ...endless }, { signal: gone.signal })[Symbol.asyncIterator]();
  await stream.next();
  gone.abort();
  await leader.until(() => leader.cancels.length === 1);
  await expectIdle(world!, leader);
});

test('a deadline travels to the engine, and one that passes in the queue ends the wait', async () => {
  await start();
  await expect(world!.generate({ ...text('a') }, { timeoutMs: 100 })).rejects.toMatchObject({
    code: 'DEADLINE_EXCEEDED',
  });
  const leader = await world!.lead();
  await world!.connected(1);
  const generation = world!.generate({ ...text('a'), ...endless }, { timeoutMs: 1000 });
  await expect(generation).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  await leader.until(() => leader.cancels.length === 1);
  await expectIdle(world!, leader);
});

test('a client that does not read is cut off, the others go on', async () => {
  await start({ maxUnreadMessages: 64 });
  const leader = await world!.lead();
  const slow = world!.newClient();
  const stream = world!.stream({ ...text('a'), n: 16, sampling: { maxTokens: 1_000_000, logprobs: 20 } }, {}, slow);
  const iterator = stream[Symbol.asyncIterator]();
  await iterator.next();
  await leader.until(() => leader.cancels.length === 1);
  // 64 wait in the router; what the connection itself buffers comes on top.
  expect(leader.stepCount).toBeLessThan(2000);
  await expect(drainOf(iterator)).rejects.toMatchObject({ code: 'SLOW_CONSUMER' });
  await expectIdle(world!, leader);
  expect((await world!.generate({ ...text('a'), sampling: { maxTokens: 5 } })).choices[0]?.ids).toHaveLength(5);
});

test('a message that is too long or no UTF-8 is refused as such', async () => {
  await start({ maxMessage: 4096 });
  await expect(world!.generate(text('a'.repeat(5000)))).rejects.toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
  const broken = { ...InferenceService.generate, requestSerialize: () => Buffer.from([0x1a, 2, 0x61, 0xff]) };
  const stream = world!.client.serverStream(broken, {} as never)[Symbol.asyncIterator]();
  await expect(stream.next()).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    remedy: expect.stringContaining('UTF-8'),
  });
});

test('a leader that comes back at the same epoch is reached again', async () => {
  await start({ maxReconnectPause: 200 });
  const first = await world!.lead();
  await world!.generate({ ...text('a'), sampling: { maxTokens: 1 } });
  const { address } = first;
  await first.kill();
  await world!.connected(0);
  const waiting = world!.generate({ ...text('a'), sampling: { maxTokens: 3 } });
  await world!.lead({ listen: address, announced: false });
  expect((await waiting).choices[0]?.ids).toHaveLength(3);
});

test('a group that goes while requests wait for it, and one without a leader, leave them in the queue', async () => {
  await start({ maxQueueWait: 500 });
  const leader = await world!.lead({ announced: false });
  await leader.announce(world!.store, { ranks: [] });
  await expect(world!.generate(text('a'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await world!.store.delete(groupKey('g0'));
  await expect(world!.generate(text('a'))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('no group of demo'),
  });
  await expectIdle(world!, leader);
});

test('a full group sends its requests to the next; when all are full the queue is bounded', async () => {
  await start({ maxQueueWait: 1000, maxQueuedRequests: 1 });
  const full = await world!.lead({ group: 'g0', maxSequences: 1, maxWaiting: 0 });
  const free = await world!.lead({ group: 'g1', maxSequences: 1, maxWaiting: 0 });
  full.refuse = () => ({ code: 'NO_ROOM', message: 'full' });
  const answer = await world!.generate({ ...text('a'), sampling: { maxTokens: 2 } });
  expect(answer.messages[0]?.group).toBe('g1');
  free.refuse = full.refuse;
  const [waits, tooMany] = await Promise.allSettled([world!.generate(text('a')), world!.generate(text('b'))]);
  expect([waits, tooMany]).toMatchObject([{ reason: { code: 'NO_ROOM' } }, { reason: { code: 'NO_ROOM' } }]);
  await expectIdle(world!, full, free);
});

test('64 requests over two groups all come out whole, and nothing is left', async () => {
  await start();
  const leaders = [
    await world!.lead({ group: 'g0', maxSequences: 8 }),
    await world!.lead({ group: 'g1', maxSequences: 8 }),
  ];
  await world!.connected(2);
  const answers = await Promise.all(
    Array.from({ length: 64 }, (_, i) =>
      world!.generate({ ...text(`request ${i}`), sampling: { maxTokens: 1 + ((i * 7) % 50) } }),
    ),
  );
  for (const [i, { choices }] of answers.entries()) {
    const prompt = demo.encode(`request ${i}`);
    const ids = Array.from({ length: 1 + ((i * 7) % 50) }, (_, p) => makeUp({ prompt } as never, 0, p));
    expect(choices).toEqual([
      { ids, text: demo.decode(ids, { continues: true }), finish: FinishReason.FINISH_REASON_LENGTH },
    ]);
  }
  expect(leaders.map(({ submits }) => submits.length > 20)).toEqual([true, true]);
  await expectIdle(world!, ...leaders);
});

test('the status names models, workers, groups and the load', async () => {
  await start();
  const leader = await world!.lead({ automatic: false });
  await world!.store.put(workerKey('w0'), WorkerRecord.encode(WorkerRecord.fromPartial({ id: 'w0' })).finish());
  const stream = world!.stream({ ...text('a'), ...endless })[Symbol.asyncIterator]();
  const first = stream.next();
  await leader.until(() => leader.runningCount === 1);
  leader.step();
  await first;
  await eventually(async () => {
    expect(await world!.status()).toMatchObject({
      models: [{ name: 'demo' }],
      workers: [{ id: 'w0' }],
      groups: [{ record: { group: 'g0', epoch: 1 }, session: true, engine: { running: 1, step: 1 } }],
      router: { activeRequests: 1, queuedRequests: 0, storeConnected: true, busConnected: true },
    });
  });
});

test('a scrape sees requests, failures by code, tokens and load', async () => {
  const metrics = new Metrics('trireme');
  world = await RouterWorld.start({}, {}, metrics);
  const leader = await world.lead({ automatic: false });
  const failing = world.generate({ ...text('a'), sampling: { maxTokens: 2 } }).catch(() => {});
  await leader.until(() => leader.runningCount === 1);
  leader.step();
  leader.failAll('RUNTIME_ERROR', 'gone');
  await failing;
  void world.generate({ ...text('a'), ...endless }).catch(() => {});
  await leader.until(() => leader.runningCount === 1);
  await eventually(async () => {
    const lines = (await metrics.text()).split('\n');
    for (const line of ['requests_total 2', 'tokens_total 1', 'frames_total 2', 'active_requests 1', 'sessions 1']) {
      expect(lines).toContain(`trireme_router_${line}`);
    }
    expect(lines).toContain('trireme_router_failures_total{code="RUNTIME_ERROR"} 1');
  });
});

test('records that cannot be read are left out, the rest counts', async () => {
  await start();
  const leader = await world!.lead();
  await world!.store.put(groupKey('broken'), Uint8Array.of(0x0a, 200));
  await world!.store.put('/trireme/v1/else/x', Uint8Array.of(1));
  world!.bus.publish(`trireme.v1.router.${world!.router.incarnation}`, Uint8Array.of(0x0a, 200));
  await world!.generate({ ...text('a'), sampling: { maxTokens: 2 } });
  expect((await world!.status()).groups).toHaveLength(1);
  await expectIdle(world!, leader);
});

test('a drain lets requests end and takes no new ones; a stop ends the rest with UNAVAILABLE', async () => {
  await start();
  const leader = await world!.lead({ automatic: false });
  const finishing = world!.generate({ ...text('a'), sampling: { maxTokens: 1 } });
  await leader.until(() => leader.runningCount === 1);
  const drained = world!.router.drain();
  await expect(world!.generate(text('b'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  leader.step();
  await finishing;
  await drained;
  await world!.close();

  await start();
  const second = await world!.lead({ automatic: false });
  const stopped = world!.generate({ ...text('a'), ...endless }).catch((error) => error);
  await second.until(() => second.runningCount === 1);
  await world!.router.stop();
  expect(await stopped).toMatchObject({ code: 'UNAVAILABLE' });
  await second.until(() => second.runningCount === 0 && second.sessionCount === 0);
});

test('a stopped router listens to nothing any more', async () => {
  await start();
  const { store, bus, log } = world!;
  const open: string[] = [];
  const track = <Held extends { close(): unknown }>(name: string, held: Held): Held => {
    const close = held.close.bind(held);
    open.push(name);
    return Object.assign(held, {
      close: () => {
        open.splice(open.indexOf(name), 1);
        return close();
      },
    });
  };
  const watched = Object.create(store, {
    watch: { value: (...args: Parameters<Store['watch']>) => track('watch', store.watch(...args)) },
  }) as Store;
  const heard = Object.create(bus, {
    subscribe: { value: (...args: Parameters<Bus['subscribe']>) => track('frames', bus.subscribe(...args)) },
    onConnection: { value: (...args: Parameters<Bus['onConnection']>) => bus.onConnection(...args) },
  }) as Bus;
  const config = { ...defaultConfig, listen: '127.0.0.1:0' };
  const router = await startRouter({
    store: watched,
    bus: heard,
    log,
    clock: systemClock,
    random: systemRandom,
    config,
  });
  expect(open.sort()).toEqual(['frames', 'watch']);
  await Promise.all([router.stop(), router.stop()]);
  expect(open).toEqual([]);
});

test('a group that drains gets nothing new and ends what it has', async () => {
  await start({ maxQueueWait: 300 });
  const leader = await world!.lead({ automatic: false });
  const running = world!.generate({ ...text('a'), sampling: { maxTokens: 1 } });
  await leader.until(() => leader.runningCount === 1);
  await leader.announce(world!.store, { state: GroupState.GROUP_STATE_DRAINING });
  await expect(world!.generate(text('b'))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  leader.step();
  expect((await running).choices[0]?.ids).toHaveLength(1);
});

test('a busy port is named', async () => {
  await start();
  await expect(RouterWorld.start({ listen: world!.router.address })).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    message: expect.stringContaining(world!.router.address),
  });
});
