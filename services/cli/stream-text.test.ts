import { Writable } from 'node:stream';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ChoiceDelta, type GenerateResponse, ToolCallDelta, ToolCallFault } from '#proto/inference.ts';
import { streamText } from './stream-text.ts';
import { createTerminal } from './terminal.ts';

type DeltaParts = Partial<Omit<ChoiceDelta, 'toolCalls'>> & { readonly toolCalls?: readonly Partial<ToolCallDelta>[] };

/** What the streams get, in its order; the last note has the speed and is left out. */
async function shown(deltas: readonly DeltaParts[], { n = 1, isTTY = false } = {}) {
  const lines: [stream: 'out' | 'err', text: string][] = [];
  const streamOf = (name: 'out' | 'err'): NodeJS.WriteStream => {
    const write = (chunk: Buffer, _encoding: string, done: () => void): void => {
      if (chunk.length > 0) lines.push([name, chunk.toString()]);
      done();
    };
    return Object.assign(new Writable({ write }), { isTTY }) as unknown as NodeJS.WriteStream;
  };
  async function* stream(): AsyncGenerator<GenerateResponse> {
    for (const { toolCalls = [], ...delta } of deltas) {
      const calls = toolCalls.map((call) => ToolCallDelta.fromPartial(call));
      const choice = { ...ChoiceDelta.create(), ...delta, toolCalls: calls };
      yield { requestId: '', group: '', choices: [choice], usage: undefined, streamDigest: '' };
    }
  }
  await streamText(stream(), n, createTerminal(streamOf('out'), streamOf('err')));
  expect(lines.at(-1)?.[1]).toMatch(/^\d+ tokens, .* tokens\/s/);
  lines.pop();
  const joined = (name: string): string => lines.flatMap(([stream, text]) => (stream === name ? [text] : [])).join('');
  return { lines, out: joined('out'), err: joined('err') };
}

beforeEach(() => {
  for (const name of ['NO_COLOR', 'FORCE_COLOR', 'NODE_DISABLE_COLORS']) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
});

const call = (arguments_: string, fault?: ToolCallFault) => ({
  toolCalls: [{ index: 0, id: 'c0', name: 'f', arguments: arguments_, ...(fault === undefined ? {} : { fault }) }],
});

test('text comes on stdout as it is written, reasoning on stderr, apart from it', async () => {
  const { lines } = await shown([{ reasoning: 'Hm' }, { reasoning: '.' }, { text: 'Yes' }, { text: '.' }]);
  expect(lines).toEqual([
    ['err', 'Hm'],
    ['err', '.'],
    ['err', '\n\n'],
    ['out', 'Yes'],
    ['out', '.'],
    ['out', '\n'],
  ]);
  expect(await shown([{ text: 'Yes' }])).toMatchObject({ out: 'Yes\n', err: '' });
  expect(await shown([{ reasoning: 'Hm' }])).toMatchObject({ out: '\n', err: 'Hm\n' });
});

test('on a terminal reasoning is dim', async () => {
  expect(await shown([{ reasoning: 'Hm' }, { text: 'Yes' }], { isTTY: true })).toMatchObject({
    out: 'Yes\n',
    err: expect.stringContaining('\u001b[2mHm\u001b[22m'),
  });
});

test('each call is a line of JSON when it is whole', async () => {
  const more = {
    toolCalls: [
      { index: 0, arguments: ' 1}' },
      { index: 1, id: 'c1', name: 'g', arguments: '{}' },
    ],
  };
  const calls = '{"id":"c0","name":"f","arguments":{"a":1}}\n{"id":"c1","name":"g","arguments":{}}\n';
  expect((await shown([{ text: 'So' }, call('{"a":'), more])).out).toBe(`So\n${calls}`);
  expect((await shown([call('{"a":'), more])).out).toBe(calls);
});

test('a call at fault says so, its arguments as they came', async () => {
  const { out } = await shown([call('{"a":'), call('', ToolCallFault.TOOL_CALL_FAULT_TRUNCATED)]);
  expect(out).toBe('{"id":"c0","name":"f","arguments":"{\\"a\\":","fault":"truncated"}\n');
});

test('several choices come one after the other, each with its number', async () => {
  const deltas = [
    { index: 1, reasoning: 'Hm' },
    { index: 0, text: 'a' },
    { index: 1, text: 'b', ...call('{}') },
    { index: 0, text: 'c' },
  ];
  expect(await shown(deltas, { n: 2 })).toMatchObject({
    out: '[0] ac\n[1] b\n[1] {"id":"c0","name":"f","arguments":{}}\n',
    err: '[1] Hm\n',
  });
});
