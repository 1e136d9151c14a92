import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chatOf, refuseChatFlags } from './chat-request.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'trireme-chat-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function fileWith(text: string): Promise<string> {
  const file = path.join(folder, 'tools.json');
  await writeFile(file, text);
  return file;
}

test('a chat has its system message first', async () => {
  const { messages, tools, templateArguments } = await chatOf('hi', { system: 'be brief' });
  expect(messages.map(({ role, content }) => [role, content])).toEqual([
    ['system', 'be brief'],
    ['user', 'hi'],
  ]);
  expect([tools, templateArguments]).toEqual([[], '']);
});

test.for([
  ['on', { enable_thinking: true, thinking: true }],
  ['off', { enable_thinking: false, thinking: false }],
  ['high', { enable_thinking: true, thinking: true, reasoning_effort: 'high' }],
] as const)('reasoning %s is said in the words of every template', async ([reasoning, variables]) => {
  expect(JSON.parse((await chatOf('hi', { reasoning })).templateArguments)).toEqual(variables);
});

test('template arguments win over what --reasoning says', async () => {
  const { templateArguments } = await chatOf('hi', { reasoning: 'on', templateArguments: '{"thinking": 5, "x": "y"}' });
  expect(JSON.parse(templateArguments)).toEqual({ enable_thinking: true, thinking: 5, x: 'y' });
  await expect(chatOf('hi', { templateArguments: '[]' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

test('tools come from a file, bare or as OpenAI wraps them, and keep the order of their schema', async () => {
  const parameters = { type: 'object', properties: { b: { type: 'string' }, a: {} } };
  const wrapped = { type: 'function', function: { name: 'g', description: 'does', parameters, strict: true } };
  const { tools } = await chatOf('hi', { tools: await fileWith(JSON.stringify([{ name: 'f' }, wrapped])) });
  expect(tools).toEqual([
    { name: 'f', description: '', parameters: '' },
    { name: 'g', description: 'does', parameters: JSON.stringify(parameters) },
  ]);
});

test.for([
  ['no JSON', '[{', /JSON/],
  ['a key that comes twice', '[{"name": "f", "name": "g"}]', /"name" comes twice/],
  ['no list', '{"name": "f"}', /holds no list/],
  ['a tool without a name', '[{"name": "f"}, {"type": "function", "function": {}}]', /tool 1: name/],
  ['a tool that is a text', '["f"]', /tool 0/],
  ['a schema that is a list', '[{"name": "f", "parameters": []}]', /tool 0: parameters/],
] as const)('a file with %s is named', async ([, text, reason]) => {
  const file = await fileWith(text);
  await expect(chatOf('hi', { tools: file })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringMatching(reason),
  });
  await expect(chatOf('hi', { tools: file })).rejects.toThrow(`${file} lists no tools`);
});

test('a file that there is not is named, too', async () => {
  await expect(chatOf('hi', { tools: path.join(folder, 'nowhere') })).rejects.toThrow(
    'nowhere lists no tools: no such',
  );
});

test('what only a chat knows is refused elsewhere', () => {
  refuseChatFlags({});
  expect(() => refuseChatFlags({ reasoning: 'on' })).toThrow('--reasoning goes with --chat only');
  expect(() => refuseChatFlags({ system: '' })).toThrow('--system goes with --chat only');
});
