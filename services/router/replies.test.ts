/** Replies through a whole router: a leader writes tokens, a client gets fields. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { FinishReason } from '#proto/inference.ts';
import { loadTokenizer, type Tokenizer } from '#tokenizer/tokenizer.ts';
import type { FakeLeader, TokenScript } from '../../test/fakes/fake-leader.ts';
import { demoPackage, type RequestParts, RouterWorld } from '../../test/fakes/router-world.ts';
import { type ClientCall, type ClientReply, mergeDeltas } from '../../test/fixtures/merge-deltas.ts';
import { type MergedReply, readPieces } from '../../test/fixtures/read-reply.ts';
import { realTokenizers } from '../../test/fixtures/real-tokenizers.ts';
import { replySamples, sampleSchemas } from '../../test/fixtures/reply-samples.ts';

const { FINISH_REASON_STOP: stop, FINISH_REASON_LENGTH: length, FINISH_REASON_TOOL_CALLS: toolCalls } = FinishReason;

let world: RouterWorld | undefined;
afterEach(async () => {
  await world?.close();
  world = undefined;
});

/** A router for one package, and a leader that writes what it is told, whatever it is asked. */
async function start(packagePath: string, automatic = true) {
  world = await RouterWorld.start({}, { packagePath, contextLength: 100_000 });
  const started = world;
  const tokenizer = await loadTokenizer(packagePath);
  let script: (choice: number) => readonly number[] = () => [];
  const tokens: TokenScript = (_submit, choice, position) => script(choice)[position];
  const leader = await started.lead({ tokens, automatic });
  const write = (ids: typeof script): void => {
    script = ids;
  };
  const answer = async (reply: string, request: RequestParts): Promise<ClientReply> => {
    const ids = plainIds(tokenizer, reply);
    write(() => ids);
    return mergeDeltas((await started.generate(request)).messages);
  };
  return { tokenizer, leader, answer, write };
}

/** Without the token that begins a text. */
function plainIds(tokenizer: Tokenizer, text: string): number[] {
  const [first, ...rest] = tokenizer.encode(text);
  if (first === undefined) return [];
  return tokenizer.specialTokens.has(first) && tokenizer.decode(rest) === text ? rest : [first, ...rest];
}

/** As a client gets them for the request `mine`. */
function callsOf({ calls }: MergedReply): ClientCall[] {
  return calls.map(({ name, id, arguments: json, fault }, i) => ({
    ...{ id: id ?? `call_mine_0_${i}`, name, arguments: json },
    ...(fault === undefined ? {} : { fault }),
  }));
}

const text = (value: string) => ({ prompt: { $case: 'text', value } }) as const;
const chat = (value: object = {}): RequestParts => ({
  prompt: { $case: 'chat', value: { messages: [{ role: 'user', content: 'How is the weather?' }], ...value } },
});
const tools = [...sampleSchemas].map(([name, schema]) => ({ name, parameters: JSON.stringify(schema) }));

describe.each(Object.entries(realTokenizers))('with the tokenizer of %s', (_family, folder) => {
  test('every sample is read as its format says, a frame for every token', async () => {
    const { answer } = await start(folder);
    for (const { format, text: reply, promptEnd = '' } of replySamples) {
      const read = readPieces(format, [reply], { promptEnd, schemas: new Map() });
      const calls = callsOf(read);
      const finish = calls.some(({ fault }) => fault === undefined) ? toolCalls : stop;
      const request = { ...text(promptEnd || 'x'), replyFormat: format, requestId: 'mine' };
      const { content, reasoning } = read;
      expect({ reply, ...(await answer(reply, request)) }).toEqual({ reply, text: content, reasoning, calls, finish });
    }
  });
});

const weather = replySamples.find(({ format }) => format === 'hermes')!;
const expected = {
  text: 'Let me look.',
  reasoning: 'The user wants the weather.\n\nSo I call.',
  calls: [
    { id: 'call_mine_0_0', name: 'weather', arguments: '{"city": "Zürich", "days": 3}' },
    { id: 'call_mine_0_1', name: 'weather', arguments: '{"city": "東京"}' },
  ],
  finish: toolCalls,
};

describe('a chat with Qwen', () => {
  test('that brings tools has them in its prompt, and gets calls', async () => {
    const { answer, leader, tokenizer } = await start(realTokenizers.Qwen);
    const request = { ...chat({ tools, templateArguments: '{"enable_thinking": true}' }), requestId: 'mine' };
    expect(await answer(weather.text, request)).toEqual(expected);
    const prompt = tokenizer.decode(leader.submits[0]!.prompt, { showsSpecial: true });
    expect(prompt).toContain('# Tools');
    expect(prompt).toContain('"lat"');
    expect(prompt).toMatch(/<\|im_start\|>assistant\n$/);
    expect(leader.submits[0]?.sampling?.stopTokenIds).toEqual([tokenizer.turnEnd]);
  });

  test('that turns thinking off is read as such', async () => {
    const { answer } = await start(realTokenizers.Qwen);
    const off = chat({ templateArguments: '{"enable_thinking": false}' });
    expect(await answer('Sunny.\n', off)).toEqual({ text: 'Sunny.\n', reasoning: '', calls: [], finish: stop });
  });

  test('that sends calls and their results back gets on', async () => {
    const { answer, leader, tokenizer } = await start(realTokenizers.Qwen);
    const calls = [{ id: 'call_mine_0_0', name: 'weather', arguments: '{"city": "Bern"}' }];
    const messages = [
      { role: 'user', content: 'Weather?' },
      { role: 'assistant', reasoning: 'I look.', toolCalls: calls },
      { role: 'tool', content: 'rain', toolCallId: 'call_mine_0_0', name: 'weather' },
    ];
    expect(await answer('Rain.', chat({ messages, tools }))).toMatchObject({ text: 'Rain.', finish: stop });
    const prompt = tokenizer.decode(leader.submits[0]!.prompt, { showsSpecial: true });
    expect(prompt).toContain(
      '<think>\nI look.\n</think>\n\n<tool_call>\n{"name": "weather", "arguments": {"city": "Bern"}}\n</tool_call>',
    );
    expect(prompt).toContain('<tool_response>\nrain\n</tool_response>');
  });

  test('without tools keeps what looks like calls as text', async () => {
    const { answer } = await start(realTokenizers.Qwen);
    const { text: shown, reasoning, calls, finish } = await answer(weather.text, chat());
    expect([reasoning, calls, finish]).toEqual([expected.reasoning, [], stop]);
    expect(shown).toBe(weather.text.slice(weather.text.indexOf('Let me look.')));
  });
});

test("DeepSeek's template has no place for tools: the client says so in words and names the format", async () => {
  const { answer } = await start(realTokenizers.DeepSeek);
  const { text: reply } = replySamples.find(({ format }) => format === 'deepseek-v3')!;
  await expect(answer(reply, chat({ tools }))).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    remedy: expect.stringContaining('reply_format'),
  });
  const named = await answer(`<think>\n${reply}`, { ...chat(), replyFormat: 'deepseek-v3' });
  expect(named).toMatchObject({ reasoning: 'Ich überlege.', text: 'Moment.', finish: toolCalls });
  expect(named.calls.map(({ name }) => name)).toEqual(['weather', 'now']);
});

/** What the demo's tokenizer marks as special: think and tool_call. */
const special = '<think>\nHm.\n</think>\n\nSunny.<tool_call>\n{"name": "f", "arguments": {"a": "b"}}\n</tool_call>';

test('markers that are special tokens reach the parser, and stay out of plain text', async () => {
  const { answer, tokenizer } = await start(demoPackage);
  expect(
    tokenizer.encode('<think></think><tool_call></tool_call>').every((id) => tokenizer.specialTokens.has(id)),
  ).toBe(true);
  const calls = [{ id: 'call_mine_0_0', name: 'f', arguments: '{"a": "b"}' }];
  const request = { requestId: 'mine', ...text('a') };
  expect(await answer(`${special}<|im_end|>`, { ...request, replyFormat: 'hermes' })).toEqual({
    ...{ text: 'Sunny.', reasoning: 'Hm.', calls, finish: toolCalls },
  });
  const plain = special.replaceAll(/<\/?(think|tool_call)>/g, '');
  for (const parts of [{ replyFormat: 'raw' }, {}]) {
    expect(await answer(`${special}<|im_end|>`, { ...request, ...parts })).toEqual({
      ...{ text: plain, reasoning: '', calls: [], finish: stop },
    });
  }
});

test('stop strings are looked for in the text, not in reasoning and calls', async () => {
  const { answer, leader } = await start(demoPackage);
  const reply = (word: string): string =>
    `<think>\nOslo\n</think>\n\nSo <tool_call>{"name": "f", "arguments": {"a": "Oslo"}}</tool_call>${word}, yes`;
  const request = { ...text('a'), replyFormat: 'hermes', sampling: { stop: ['Oslo', 'So Ro'] } };
  expect(await answer(reply('Bern'), request)).toMatchObject({ text: 'So Bern, yes', finish: toolCalls });
  expect(leader.cancels).toEqual([]);
  expect(await answer(reply('Oslo'), request)).toMatchObject({ text: 'So ', reasoning: 'Oslo', finish: toolCalls });
  // The text is one, wherever a call stands in it.
  expect(await answer(reply('Rome'), request)).toMatchObject({ text: '', calls: [{ name: 'f' }] });
  expect(await answer('Oslo', request)).toMatchObject({ text: '', calls: [], finish: stop });
  await leader.until(() => leader.cancels.length === 3);
});

test('a reply that max_tokens ends anywhere has all that came before, and says so', async () => {
  const { answer, tokenizer } = await start(demoPackage);
  const ids = tokenizer.encode(special);
  for (let maxTokens = 1; maxTokens <= ids.length; maxTokens++) {
    const request = { ...text('a'), replyFormat: 'hermes', requestId: 'mine', sampling: { maxTokens } };
    const read = readPieces('hermes', [tokenizer.decode(ids.slice(0, maxTokens), { showsSpecial: true })]);
    const { content, reasoning } = read;
    expect(await answer(special, request)).toEqual({ text: content, reasoning, calls: callsOf(read), finish: length });
  }
});

test('each choice has a reply of its own', async () => {
  const { tokenizer, write } = await start(demoPackage);
  const replies = ['<think>\na\n</think>\n\nb', special].map((reply) => tokenizer.encode(reply));
  write((choice) => replies[choice]!);
  const { messages } = await world!.generate({ ...text('a'), replyFormat: 'hermes', requestId: 'r', n: 2 });
  expect(mergeDeltas(messages, 0)).toEqual({ text: 'b', reasoning: 'a', calls: [], finish: stop });
  expect(mergeDeltas(messages, 1)).toMatchObject({ text: 'Sunny.', calls: [{ id: 'call_r_1_0' }], finish: toolCalls });
});

test('however the tokens are spread over frames, the reply is the same', async () => {
  const { tokenizer, leader } = await start(demoPackage, false);
  const ids = tokenizer.encode(special);
  const calls = [{ id: 'call_mine_0_0', name: 'f', arguments: '{"a": "b"}' }];
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: ids.length - 1 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(cuts, async (at) => {
      const { length: before } = leader.submits;
      const generation = world!.generate({ ...text('a'), replyFormat: 'hermes', requestId: 'mine' });
      await leader.until(() => leader.submits.length > before);
      const borders = [0, ...at.sort((a, b) => a - b), ids.length];
      for (const [i, end] of borders.slice(1).entries())
        publishPiece(leader, ids.slice(0, end), borders[i]!, ids.length);
      const whole = { text: 'Sunny.', reasoning: 'Hm.', calls, finish: toolCalls };
      expect(mergeDeltas((await generation).messages)).toEqual(whole);
    }),
    { numRuns: 40 },
  );
});

/** A frame with the tokens from a position on; the last ends the choice. */
function publishPiece(leader: FakeLeader, ids: readonly number[], firstPosition: number, total: number): void {
  const { requestId, attempt } = leader.submits.at(-1)!;
  const entry = { requestId, attempt, choice: 0, firstPosition, tokenIds: ids.slice(firstPosition) };
  const end = ids.length === total ? { finishReason: stop } : {};
  leader.publish(world!.router.incarnation, [{ ...entry, ...end }]);
}
