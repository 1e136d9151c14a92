import { expect, test } from 'vitest';
import { ModelRecord } from '#proto/records.ts';
import type { ReplyFormat } from '#replies/reply-format.ts';
import { replyFormatNamed } from '#replies/reply-formats.ts';
import type { DetokenizerOptions, Tokenizer } from '#tokenizer/tokenizer.ts';
import { type RequestParts, requestOf } from '../../test/fakes/router-world.ts';
import type { ChoiceReply, ReplyFields } from './choice-reply.ts';
import { prepare } from './prepare.ts';

interface OwnFiles {
  readonly replyFormat: ReplyFormat | undefined;
  readonly turnEnd: number | undefined;
}

/** What a choice's client gets of these tokens. */
function read(reply: ChoiceReply, text: string): ReplyFields {
  const fields: ReplyFields = { text: '', reasoning: '', toolCalls: [] };
  for (const character of text) reply.push(character.codePointAt(0)!, fields);
  return fields;
}

function textOf(reply: ChoiceReply, text: string): string {
  return read(reply, text).text;
}

const chat = (content: string, parts: object = {}): RequestParts => ({
  prompt: { $case: 'chat', value: { messages: [{ role: 'user', content }], ...parts } },
});

/** One id for each character; notes how its streams are made. */
function letterTokenizer(made: (DetokenizerOptions | undefined)[]): Tokenizer {
  const encode = (text: string) => [...text].map((character) => character.codePointAt(0)!);
  return {
    encode,
    chat: ({ messages }) => {
      const text = messages.map(({ role, content }) => `${role}:${content}`).join('|');
      return { text, ids: encode(text) };
    },
    createDetokenizer: (options) => {
      made.push(options);
      return { push: (id) => String.fromCodePoint(id), end: () => '' };
    },
    decode: (ids) => String.fromCodePoint(...ids),
    specialTokens: new Set(),
    turnEnd: undefined,
    markup: { templates: [], tokens: new Set() },
    longestToken: 1,
  };
}

function run(request: RequestParts, contextLength = 100, { replyFormat, turnEnd }: Partial<OwnFiles> = {}) {
  const made: (DetokenizerOptions | undefined)[] = [];
  const files = { tokenizer: { ...letterTokenizer(made), turnEnd }, defaults: {}, replyFormat };
  const random = { bytes: (count: number) => new Uint8Array(count), id: () => 'x' };
  const record = ModelRecord.fromPartial({ name: 'm', contextLength });
  const routed = prepare(requestOf(request), {
    id: 'r',
    record,
    files,
    random,
    pooling: 0,
    received: [],
    streamDigest: '',
  });
  return { routed, made };
}

test('an answer to a text goes on the text, an answer in a chat stands alone', () => {
  expect(run({ prompt: { $case: 'text', value: 'abc' } }).made).toEqual([{ continues: true }]);
  expect(run({ prompt: { $case: 'tokenIds', value: { ids: [1, 2] } } }).made).toEqual([{ continues: true }]);
  const { routed, made } = run({ ...chat('hi'), n: 2 });
  expect(made).toEqual([{ continues: false }, { continues: false }]);
  expect(String.fromCodePoint(...routed.prompt)).toBe('user:hi');
});

test('a prompt may fill the context up to one token', () => {
  const ids = (count: number) =>
    ({ prompt: { $case: 'tokenIds', value: { ids: Array<number>(count).fill(5) } } }) as const;
  expect(run(ids(99)).routed.prompt).toHaveLength(99);
  expect(() => run(ids(100))).toThrow(expect.objectContaining({ code: 'PROMPT_TOO_LONG' }));
  expect(run(ids(5000), 0).routed.prompt).toHaveLength(5000);
});

test('choices share the stop strings and watch for them by themselves', () => {
  const { routed } = run({ prompt: { $case: 'text', value: 'a' }, n: 2, sampling: { stop: ['xy'] } });
  const [first, second] = routed.replies;
  expect([textOf(first!, 'xy'), first!.stopped]).toEqual(['', true]);
  expect([textOf(second!, 'y'), second!.stopped]).toEqual(['y', false]);
});

const hermes = replyFormatNamed('hermes');
const thought = '<think>\nHm.\n</think>\n\nYes<tool_call>{"name": "now"}</tool_call>.';

test("a chat is read in the model's format, everything else is text", () => {
  const own = { replyFormat: hermes };
  const [inChat] = run(chat('a'), 100, own).routed.replies;
  expect(read(inChat!, thought)).toMatchObject({ reasoning: 'Hm.', toolCalls: [] });
  const [inText] = run({ prompt: { $case: 'text', value: 'a' } }, 100, own).routed.replies;
  expect(read(inText!, thought)).toEqual({ text: thought, reasoning: '', toolCalls: [] });
  const [raw] = run({ ...chat('a'), replyFormat: 'raw' }, 100, own).routed.replies;
  expect(read(raw!, thought)).toEqual({ text: thought, reasoning: '', toolCalls: [] });
  const [unknown] = run(chat('a')).routed.replies;
  expect(read(unknown!, thought)).toEqual({ text: thought, reasoning: '', toolCalls: [] });
});

test('calls are read where the request has tools, or names the format', () => {
  const calls = [{ index: 0, id: 'call_r_0_0', name: 'now', arguments: '{}', fault: 0 }];
  const tools = [{ name: 'now' }];
  const whole = { text: 'Yes.', reasoning: 'Hm.', toolCalls: calls };
  const [withTools] = run(chat('a', { tools }), 100, { replyFormat: hermes }).routed.replies;
  expect(read(withTools!, thought)).toEqual(whole);
  const [named] = run({ ...chat('a'), replyFormat: 'hermes' }).routed.replies;
  expect(read(named!, thought)).toEqual(whole);
  const [text] = run({ prompt: { $case: 'text', value: 'a' }, replyFormat: 'hermes' }).routed.replies;
  expect(read(text!, thought)).toEqual(whole);
});

test('a reply whose prompt ends inside its thoughts begins there, however the prompt came', () => {
  const prompt = 'a<think>\n';
  const replyFormat = 'think';
  const ids = [...prompt].map((character) => character.codePointAt(0)!);
  for (const request of [
    { prompt: { $case: 'text', value: prompt } },
    { prompt: { $case: 'tokenIds', value: { ids } } },
    chat(prompt),
  ] as const) {
    const [reply] = run({ ...request, replyFormat }).routed.replies;
    expect(read(reply!, 'Hm.</think>Yes.')).toMatchObject({ reasoning: 'Hm.', text: 'Yes.' });
  }
});

test('a chat ends with its turn, unless it is to go on past end tokens', () => {
  const stopsOf = (request: RequestParts) => run(request, 100, { turnEnd: 9 }).routed.sampling.stopTokenIds;
  expect(stopsOf(chat('a'))).toEqual([9]);
  expect(stopsOf({ ...chat('a'), sampling: { stopTokenIds: [4, 9] } })).toEqual([4, 9]);
  expect(stopsOf({ ...chat('a'), sampling: { ignoreEos: true } })).toEqual([]);
  expect(stopsOf({ prompt: { $case: 'text', value: 'a' } })).toEqual([]);
  expect(run(chat('a')).routed.sampling.stopTokenIds).toEqual([]);
});

test.for<[string, RequestParts, RegExp]>([
  ['a format that there is not', { ...chat('a'), replyFormat: 'xml' }, /reply_format "xml" is not known/],
  ['a tool without a name', chat('a', { tools: [{ name: '' }] }), /tool 0 needs a name/],
  ['a name with a space', chat('a', { tools: [{ name: 'a' }, { name: 'b c' }] }), /tool 1 needs a name/],
  ['a long name', chat('a', { tools: [{ name: 'n'.repeat(257) }] }), /1 to 256 characters/],
  ['two tools of one name', chat('a', { tools: [{ name: 'a' }, { name: 'a' }] }), /two tools are named a/],
  ['a schema that is no JSON', chat('a', { tools: [{ name: 'a', parameters: '{' }] }), /parameters of tool a/],
  ['a schema that is a list', chat('a', { tools: [{ name: 'a', parameters: '[]' }] }), /parameters of tool a/],
  ['too many tools', chat('a', { tools: Array(513).fill({ name: 'a' }) }), /more than 512 tools/],
  ['template arguments that are no object', chat('a', { templateArguments: '5' }), /template_arguments must be/],
])('%s is refused', ([, request, message]) => {
  expect(() => run(request)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) }),
  );
});

test('tools and template arguments count as text before they are tokenised', () => {
  const long = 'a'.repeat(500);
  for (const parts of [{ templateArguments: long }, { tools: [{ name: 'a', description: long }] }]) {
    expect(() => run(chat('a', parts))).toThrow(expect.objectContaining({ code: 'PROMPT_TOO_LONG' }));
  }
});
