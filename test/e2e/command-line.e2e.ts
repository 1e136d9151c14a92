/** What a user types at a running system, and what cannot be meant. test/e2e/bad-* have the bad files. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Chat } from '../../proto/gen/inference.ts';
import { writeAdapter } from '../fixtures/made-adapter.ts';
import { temporaryFolder } from '../fixtures/tiny-checkpoint.ts';
import type { TestProcess } from '../harness/process.ts';
import { generate, greedy } from './generation.ts';
import { refusal } from './refusal.ts';
import { TestSystem, trireme } from './start-system.ts';

test('up answers a question and exits 0', async () => {
  const up = trireme('up', '--listen', '127.0.0.1:0', '--prompt', 'What is the capital of Norway?');
  expect(await up.exited).toMatchObject({ status: 0 });
  expect(up.output).toContain('The capital of Norway is Oslo.\n');
  expect(up.output).toMatch(/tokens\/s/);
});

test('a group whose two ranks live in two processes answers as any other', async () => {
  const system = await TestSystem.start('--ranks', '2', '--workers', '2');
  try {
    const { text } = await generate(system.client, {
      ...greedy('', 20),
      prompt: { $case: 'chat', value: Chat.fromPartial({ messages: [{ role: 'user', content: 'What is 17 + 25?' }] }) },
      sampling: undefined,
    });
    expect(text).toContain('42');
    const [group] = (await system.client.status()).groups;
    expect(new Set(group?.record?.ranks.map(({ worker }) => worker)).size).toBe(2);
  } finally {
    await system.stop();
  }
});

test('an adapter changes what is generated for who names it, and for nobody else', async () => {
  await using folder = await temporaryFolder();
  const targets = /self_attn[.](q|k|v|o)_proj[.]weight$/;
  const shape = { seed: 3, rank: 8, alpha: 64, targets };
  await writeAdapter('models/demo', path.join(folder.path, 'other'), shape);
  const system = await TestSystem.start('--adapters', folder.path);
  try {
    const request = greedy('The capital of Norway', 12);
    const [plain, adapted, again] = await Promise.all([
      generate(system.client, request),
      generate(system.client, { ...request, adapter: 'other' }),
      generate(system.client, request),
    ]);
    expect(again.tokens).toEqual(plain.tokens);
    expect(adapted.tokens).not.toEqual(plain.tokens);
    const flags = ['--address', system.address, '--prompt', 'x', '--adapter'];
    expect(await refusal(['generate', ...flags, 'none'])).toMatchObject({ code: 'UNKNOWN_ADAPTER', status: 64 });
  } finally {
    await system.stop();
  }
});

describe('a running system refuses', () => {
  let up: TestProcess;
  let address: string;
  beforeAll(async () => {
    up = trireme('up', '--listen', '127.0.0.1:0', '--json');
    const [, found = ''] = await up.waitForLine(/^\{"address":"([^"]+)"/m, 60_000);
    address = found;
  });
  afterAll(() => up?.stop());

  const tokens = (count: number): string => Array.from({ length: count }, (_, i) => i + 7).join(',');

  test.each([
    [
      'more tokens than the context holds',
      ['--tokens', tokens(2100)],
      'PROMPT_TOO_LONG',
      /has 2100 tokens.*may have 2048/,
    ],
    ['a text of more tokens', ['--prompt', 'word '.repeat(2100)], 'PROMPT_TOO_LONG', /shorten the prompt$/],
    ['negative --max-tokens', ['--prompt', 'x', '--max-tokens', '-5'], 'INVALID_ARGUMENT', /whole number from 1/],
    ['no tokens at all', ['--prompt', 'x', '--max-tokens', '0'], 'INVALID_ARGUMENT', /whole number from 1/],
    ['more than a count holds', ['--prompt', 'x', '--max-tokens', '4294967296'], 'INVALID_ARGUMENT', /to 2147483647/],
    ['an adapter of a model without any', ['--prompt', 'x', '--adapter', 'a'], 'UNKNOWN_ADAPTER', /a is none of it/],
    [
      'an unknown model',
      ['--prompt', 'x', '--model', 'nope'],
      'UNKNOWN_MODEL',
      /"nope" is not served. served are: demo$/,
    ],
    [
      'a token that there is not',
      ['--tokens', '999999'],
      'INVALID_ARGUMENT',
      /999999 is outside the vocabulary of 2048/,
    ],
    ['what is no token', ['--tokens', '1,x'], 'INVALID_ARGUMENT', /"x" is not a token id/],
    ['an empty prompt', ['--prompt', ''], 'INVALID_ARGUMENT', /the prompt is empty/],
    ['no prompt', [], 'INVALID_ARGUMENT', /one of --prompt, --chat and --tokens/],
    ['a top_p out of range', ['--prompt', 'x', '--top-p', '7'], 'INVALID_ARGUMENT', /top_p must be .* not 7/],
    ['a temperature that is no number', ['--prompt', 'x', '--temperature', 'nan'], 'INVALID_ARGUMENT', /a number/],
    ['an empty stop text', ['--prompt', 'x', '--stop', ''], 'INVALID_ARGUMENT', /stop must be/],
    ['a system message without a chat', ['--prompt', 'x', '--system', 'y'], 'INVALID_ARGUMENT', /goes with --chat/],
    [
      'tools that are none',
      ['--chat', 'x', '--tools', 'package.json'],
      'INVALID_ARGUMENT',
      /holds no list. Write it as/,
    ],
    ['a format that there is not', ['--chat', 'x', '--reply-format', 'y'], 'INVALID_ARGUMENT', /"y".*raw, harmony, /],
    ['half a choice about thinking', ['--chat', 'x', '--reasoning', 'maybe'], 'INVALID_ARGUMENT', /on, off, low/],
    [
      'tools that the model cannot be told of',
      ['--chat', 'x', '--tools', 'test/fixtures/tools.json'],
      'INVALID_ARGUMENT',
      /no place for tools. describe them in a message, and set reply_format/,
    ],
  ] as const)('%s', async (_, flags, code, line) => {
    const refused = await refusal(['generate', '--address', address, ...flags]);
    expect(refused).toEqual({ code, status: 64, line: expect.stringMatching(line) });
  });

  test('nothing, when the request is good', async () => {
    const good = trireme('generate', '--address', address, '--prompt', 'x', '--max-tokens', '1');
    expect(await good.exited).toMatchObject({ status: 0 });
  });
});

test.each([
  [['up', '--etcd', 'http://127.0.0.1:1'], 'INVALID_CONFIG', 78, /need both. Give --etcd URL and --nats URL together/],
  [['up', '--etcd', 'here', '--nats', 'there'], 'INVALID_ARGUMENT', 64, /--etcd.*Expected a URL such as http:/],
  [['up', '--listen', 'nonsense'], 'INVALID_CONFIG', 78, /no address to listen on. write host:port/],
  [['up', '--log-level', 'loud'], 'INVALID_ARGUMENT', 64, /Allowed choices are debug, info, warn, error/],
  [['status', '--address', 'nonsense'], 'INVALID_ARGUMENT', 64, /Expected host:port/],
  [
    ['generate', '--address', '127.0.0.1:1', '--prompt', 'x'],
    'UNAVAILABLE',
    69,
    /ECONNREFUSED.*see that a Trireme process/,
  ],
  [['models', '--address', '127.0.0.1:1'], 'UNAVAILABLE', 69, /no connection to 127.0.0.1:1/],
  [['slice', '--model', 'models/demo'], 'INVALID_ARGUMENT', 64, /required option '--out <folder>' not specified/],
  [['slice', '--modle', 'x', '--out', 'y', '--ranks', '1', '--model', 'z'], 'INVALID_ARGUMENT', 64, /--modle/],
  [['sliec'], 'INVALID_ARGUMENT', 64, /Did you mean slice\?/],
  [
    ['slice', '--model', '/nowhere', '--out', 'x', '--ranks', '1'],
    'NOT_A_CHECKPOINT',
    66,
    /no config.json. Name a folder/,
  ],
  [
    ['slice', '--model', 'models/demo', '--out', '/nowhere/x', '--ranks', '3'],
    'ILLEGAL_RANK_COUNT',
    64,
    /legal rank counts: 1, 2, 4$/,
  ],
  [['inspect', '.'], 'NOT_A_CHECKPOINT', 66, /neither a manifest.json nor a config.json. Name a folder/],
  [['verify', '--model', 'models/demo', '--golden', '/nowhere'], 'INVALID_ARGUMENT', 64, /no such file. Name a file/],
  [
    ['verify', '--model', 'models/demo', '--golden', 'package.json'],
    'INVALID_ARGUMENT',
    64,
    /is not a golden file: prompt/,
  ],
  [['verify', '--model', 'models/demo', '--golden', '/dev/zero'], 'INVALID_ARGUMENT', 64, /is no regular file/],
] as const)('%j is refused with its code and status, in one line', async (flags, code, status, line) => {
  expect(await refusal(flags)).toEqual({ code, status, line: expect.stringMatching(line) });
});
