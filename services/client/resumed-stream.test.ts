import { expect, test } from 'vitest';
import { TriremeError } from '#platform/errors.ts';
import { GenerateRequest, GenerateResponse, type ResumeRequest } from '#proto/inference.ts';
import { HurriedClock } from '../../test/fakes/hurried-clock.ts';
import { type RouterCalls, resumedStream } from './resumed-stream.ts';

type Script = (GenerateResponse | TriremeError)[];

/** A router that answers each call with the next script. */
class ScriptedRouter implements RouterCalls {
  readonly calls: (GenerateRequest | ResumeRequest)[] = [];
  readonly #scripts: Script[];

  constructor(...scripts: Script[]) {
    this.#scripts = scripts;
  }

  generate = (request: GenerateRequest) => this.#play(request);
  resume = (request: ResumeRequest) => this.#play(request);

  async *#play(call: GenerateRequest | ResumeRequest): AsyncGenerator<GenerateResponse> {
    this.calls.push(call);
    for (const each of this.#scripts.shift() ?? [refused]) {
      if (each instanceof TriremeError) throw each;
      yield each;
    }
  }
}

const lost = new TriremeError('CONNECTION_LOST', 'gone');
const refused = new TriremeError('UNAVAILABLE', 'no connection');
const length = { finishReason: 2 } as const;

function piece(firstPosition: number, tokenIds: number[], rest: Partial<GenerateResponse> = {}, end = {}, index = 0) {
  return GenerateResponse.fromPartial({ choices: [{ index, firstPosition, tokenIds, ...end }], ...rest });
}

async function collect(routers: readonly RouterCalls[], { n = 1, resumeLimitMs = 5000 } = {}): Promise<number[]> {
  const request = GenerateRequest.fromPartial({ requestId: 'r', n });
  const stream = resumedStream(request, { routers, resumeLimitMs, clock: new HurriedClock() });
  const tokens: number[] = [];
  for await (const { choices } of stream) for (const { tokenIds } of choices) tokens.push(...tokenIds);
  return tokens;
}

test('a stream that breaks goes on at the next router with what has come, the seed and the digest', async () => {
  const first = new ScriptedRouter([piece(0, [1, 2], { seed: '9', streamDigest: 'd' }), piece(2, [3]), lost]);
  const second = new ScriptedRouter([piece(3, [4], {}, length)]);
  expect(await collect([first, second])).toEqual([1, 2, 3, 4]);
  expect(second.calls).toMatchObject([
    {
      request: { requestId: 'r', sampling: { seed: '9' } },
      received: [{ tokenIds: [1, 2, 3], finished: false }],
      streamDigest: 'd',
    },
  ]);
});

test('it is tried round after round, choices that have ended stay ended, and a lost end of the call is no loss', async () => {
  const first = new ScriptedRouter([piece(0, [1], { seed: '9' }, length, 1), lost], [piece(0, [5], {}, length), lost]);
  const second = new ScriptedRouter([refused], [refused]);
  expect(await collect([first, second], { n: 2 })).toEqual([1, 5]);
  expect(first.calls[1]).toMatchObject({
    received: [
      { tokenIds: [], finished: false },
      { tokenIds: [1], finished: true },
    ],
  });
});

test('a request that reached nobody is tried once at each router; one that did is kept alive, up to the limit', async () => {
  const routers = [new ScriptedRouter(), new ScriptedRouter()];
  await expect(collect(routers)).rejects.toBe(refused);
  expect(routers.map(({ calls }) => calls.length)).toEqual([1, 1]);
  const flaky = new ScriptedRouter([lost], [refused], [refused], [piece(0, [1], { seed: '1' }, length)]);
  expect(await collect([flaky])).toEqual([1]);
  const dead = new ScriptedRouter([piece(0, [1], { seed: '1' }), lost]);
  await expect(collect([dead])).rejects.toBe(refused);
  expect(dead.calls.length).toBeGreaterThan(4);
});

test('an answer of the router is an answer', async () => {
  const wrong = new TriremeError('PROMPT_TOO_LONG', 'too long');
  const router = new ScriptedRouter([piece(0, [1], { seed: '1' }), wrong]);
  await expect(collect([router, router])).rejects.toBe(wrong);
});

test.each([
  [[piece(0, [1]), piece(0, [1])], 'position 0 after 1 tokens'],
  [[piece(1, [1])], 'position 1 after 0 tokens'],
  [[piece(0, [1], {}, length), piece(1, [1])], 'position 1 after 1 tokens'],
  [[piece(0, [1], {}, {}, 1)], 'a choice too many'],
])('a stream that does not hold together is not shown (%#)', async (script, message) => {
  await expect(collect([new ScriptedRouter(script)])).rejects.toMatchObject({
    code: 'INTERNAL',
    message: expect.stringContaining(message),
  });
});
