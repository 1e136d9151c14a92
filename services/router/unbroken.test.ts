/** Streams whose group, bus or router goes: they come out as if nothing had happened. */
import { afterEach, beforeAll, expect, test } from 'vitest';
import { type GenerateResponse, InferenceService, ResumeRequest } from '#proto/inference.ts';
import { loadTokenizer, type Tokenizer } from '#tokenizer/tokenizer.ts';
import { eventually } from '../../test/contract/eventually.ts';
import { type FakeLeader, logprobOf, makeUp } from '../../test/fakes/fake-leader.ts';
import { demoPackage, type RequestParts, RouterWorld, requestOf } from '../../test/fakes/router-world.ts';

let demo: Tokenizer;
beforeAll(async () => {
  demo = await loadTokenizer(demoPackage);
});

let world: RouterWorld | undefined;
afterEach(async () => {
  await world?.close();
  world = undefined;
});

async function start(...options: Parameters<typeof RouterWorld.start>): Promise<void> {
  world = await RouterWorld.start(...options);
}

const text = (value: string) => ({ prompt: { $case: 'text', value } }) as const;

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

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

test.for<[string, (leader: FakeLeader) => unknown]>([
  ['whose connection breaks', (leader) => leader.kill()],
  ['that falls silent', (leader) => (leader.mute = true)],
  ['that reports a lost rank', (leader) => leader.failAll('RANK_FAILED', 'rank 1 is gone')],
])('requests at a leader %s go on at the other group, token for token', async ([, strike]) => {
  await start({ policy: 'round-robin' });
  const doomed = await world!.lead({ group: 'g0', automatic: false });
  const safe = await world!.lead({ group: 'g1', automatic: false });
  await world!.connected(2);
  const sampling = { maxTokens: 6, logprobs: 0, ignoreEos: true };
  const answers = Array.from({ length: 6 }, (_, i) => world!.generate({ ...text(`request ${i}`), n: 2, sampling }));
  await Promise.all([doomed.until(() => doomed.runningCount === 6), safe.until(() => safe.runningCount === 6)]);
  for (let step = 0; step < 2; step++) [doomed.step(), safe.step()];
  strike(doomed);
  await safe.until(() => safe.runningCount === 12);
  while (safe.step());
  for (const [i, { choices, messages }] of (await Promise.all(answers)).entries()) {
    const prompt = demo.encode(`request ${i}`);
    for (const [choice, { ids }] of choices.entries()) {
      expect(ids).toEqual(Array.from({ length: 6 }, (_, position) => makeUp({ prompt } as never, choice, position)));
    }
    for (const { tokenIds, logprobs } of messages.flatMap((message) => message.choices)) {
      expect(logprobs.map(({ logprob }) => logprob)).toEqual(tokenIds.map((id) => logprobOf(id).logprob));
    }
    expect(messages.filter(({ seed }) => seed !== undefined)).toHaveLength(1);
    expect(messages.at(-1)?.usage?.completionTokens).toBe(12);
  }
  expect(safe.submits.filter(({ attempt }) => attempt === 2).map(({ emitted }) => emitted)).toEqual(
    Array.from({ length: 3 }, () => [
      { ids: expect.objectContaining({ length: 2 }), finished: false },
      { ids: expect.objectContaining({ length: 2 }), finished: false },
    ]),
  );
  await eventually(async () => expect((await world!.status()).router?.activeRequests).toBe(0));
});

test('frames that the bus loses come over gRPC, then over the bus again', async () => {
  await start();
  const leader = await world!.lead({ automatic: false });
  const answer = world!.generate({ ...text('a'), sampling: { maxTokens: 60, ignoreEos: true } });
  await leader.until(() => leader.runningCount === 1);
  leader.step();
  leader.loses = (sequence) => sequence >= 2 && sequence < 5;
  leader.step();
  await leader.until(() => leader.attachCount === 1);
  while (leader.step());
  expect((await answer).choices[0]?.ids).toEqual(madeUp(leader, 0, 60));
  expect(leader.attachCount).toBe(1);
  expect(leader.submits).toHaveLength(1);
  await expectIdle(world!, leader);
});

test('a stream that is resumed gets what its client does not have, whatever became of its router', async () => {
  await start();
  const leader = await world!.lead();
  const sampling = { maxTokens: 12, seed: '5', stop: ['never'] };
  const request = requestOf({ ...text('a'), requestId: 'r', n: 2, sampling });
  const whole = await world!.generate({ ...text('a'), n: 2, sampling });
  const kept = [7, 0];
  const received = kept.map((count, choice) => ({ tokenIds: madeUp(leader, choice, count), finished: false }));
  const rest: GenerateResponse[] = [];
  const resumption = ResumeRequest.fromPartial({ request, received });
  for await (const message of world!.client.serverStream(InferenceService.resume, resumption)) rest.push(message);
  const deltas = rest.flatMap(({ choices }) => choices);
  for (const [choice, { ids, text: shown }] of whole.choices.entries()) {
    const own = deltas.filter(({ index }) => index === choice);
    expect(own[0]?.firstPosition).toBe(kept[choice]);
    expect(own.flatMap(({ tokenIds }) => tokenIds)).toEqual(ids.slice(kept[choice]));
    const before = demo.decode(ids.slice(0, kept[choice]), { continues: true });
    expect(`${before}${own.map((delta) => delta.text).join('')}`).toBe(shown);
  }
  expect(rest.at(-1)?.usage?.completionTokens).toBe(24);
});

const named = (parts: RequestParts['sampling'] = {}) => requestOf({ ...text('a'), requestId: 'r', sampling: parts });
const oneToken = { tokenIds: [9], finished: false };

test.for<[string, Partial<ResumeRequest>, string]>([
  ['without a request', {}, 'original request'],
  ['without a seed', { request: named(), received: [oneToken] }, 'seed'],
  ['with too many choices', { request: named({ seed: '1' }), received: [oneToken, oneToken] }, '2 choices'],
])('a resumption %s is refused', async ([, parts, reason]) => {
  await start();
  await world!.lead();
  const resumption = { ...ResumeRequest.create(), ...parts };
  await expect(drain(world!.client.serverStream(InferenceService.resume, resumption))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining(reason),
  });
});

test('the same request under the same id takes the stream over, with the same seed', async () => {
  await start();
  const leader = await world!.lead({ automatic: false });
  const request = { ...text('a'), requestId: 'mine', sampling: { maxTokens: 3 } };
  const first = world!.generate(request).catch((error) => error);
  await leader.until(() => leader.runningCount === 1);
  leader.step();
  const second = world!.generate(request);
  expect(await first).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('came again') });
  await leader.until(() => leader.submits.length === 2 && leader.runningCount === 1);
  while (leader.step());
  expect((await second).choices[0]?.ids).toEqual(madeUp(leader, 0, 3));
  const [a, b] = leader.submits;
  expect(b?.sampling?.seed).toBe(a?.sampling?.seed);
  await expectIdle(world!, leader);
});

test("a group that forms anew is found again and goes on with its requests; the old epoch's late frames do no harm", async () => {
  await start();
  const old = await world!.lead({ epoch: 1, automatic: false });
  const answer = world!.generate({ ...text('a'), requestId: 'a', sampling: { maxTokens: 3 } });
  await old.until(() => old.runningCount === 1);
  old.step();
  const anew = await world!.lead({ epoch: 2, automatic: false });
  await anew.until(() => anew.runningCount === 1);
  for (const attempt of [1, 2]) {
    const entry = { requestId: 'a', attempt, choice: 0, firstPosition: 1, tokenIds: [9, 9] };
    old.publish(world!.router.incarnation, [entry]);
  }
  while (anew.step());
  expect((await answer).choices[0]?.ids).toEqual(madeUp(anew, 0, 3));
  expect(anew.submits[0]?.emitted[0]?.ids).toEqual(madeUp(anew, 0, 1));
});
