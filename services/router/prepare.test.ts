import { expect, test } from 'vitest';
import { ModelRecord } from '#proto/records.ts';
import type { DetokenizerOptions, Tokenizer } from '#tokenizer/tokenizer.ts';
import { type RequestParts, requestOf } from '../../test/fakes/router-world.ts';
import { prepare } from './prepare.ts';

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

function run(request: RequestParts, contextLength = 100) {
  const made: (DetokenizerOptions | undefined)[] = [];
  const files = { tokenizer: letterTokenizer(made), defaults: {} };
  const random = { bytes: (count: number) => new Uint8Array(count), id: () => 'x' };
  const record = ModelRecord.fromPartial({ name: 'm', contextLength });
  const routed = prepare(requestOf(request), { id: 'r', record, files, random });
  return { routed, made };
}

test('an answer to a text goes on the text, an answer in a chat stands alone', () => {
  const chat = { $case: 'chat', value: { messages: [{ role: 'user', content: 'hi' }] } } as const;
  expect(run({ prompt: { $case: 'text', value: 'abc' } }).made).toEqual([{ continues: true }]);
  expect(run({ prompt: { $case: 'tokenIds', value: { ids: [1, 2] } } }).made).toEqual([{ continues: true }]);
  const { routed, made } = run({ prompt: chat, n: 2 });
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
  const [first, second] = routed.texts;
  expect([first!.push(0x78), first!.push(0x79), first!.stopped]).toEqual(['', '', true]);
  expect([second!.push(0x79), second!.stopped]).toEqual(['y', false]);
});
