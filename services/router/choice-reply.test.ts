import { expect, test } from 'vitest';
import { ToolCallFault } from '#proto/inference.ts';
import { replyFormatNamed } from '#replies/reply-formats.ts';
import { ReplyParser } from '#replies/reply-parser.ts';
import { StopStrings } from '#tokenizer/stop-matcher.ts';
import { ChoiceReply, type ReplyFields } from './choice-reply.ts';

/** What each token of a reply brings, and then its end. The texts are the tokens. */
function read(texts: readonly string[], { stop = [] as string[], minTokens = 0 } = {}): ReplyFields[] {
  const options = { promptEnd: '', readsCalls: true, schemas: new Map() };
  const reply = new ChoiceReply({
    detokenizer: { push: (id) => texts[id]!, end: () => '' },
    parser: new ReplyParser(replyFormatNamed('hermes')!, options),
    stops: stop.length > 0 ? new StopStrings(stop) : undefined,
    minTokens,
    callIdPrefix: 'c',
  });
  const steps: ReplyFields[] = [];
  const next = (): ReplyFields => {
    steps.push({ text: '', reasoning: '', toolCalls: [] });
    return steps.at(-1)!;
  };
  for (let id = 0; id < texts.length && !reply.stopped; id++) reply.push(id, next());
  if (!reply.stopped) reply.end(next());
  return steps;
}

const nothing = { text: '', reasoning: '', toolCalls: [] };
const noFault = ToolCallFault.TOOL_CALL_FAULT_UNSPECIFIED;

test('what one token brings of a call is one delta, and so is what it brings of the next', () => {
  const call = (name: string): string => `<tool_call>{"name": "${name}", "arguments": {"a": 1}}</tool_call>`;
  const delta = (index: number, name: string) => ({
    ...{ index, id: `c${index}`, name, arguments: '{"a": 1}', fault: noFault },
  });
  expect(read([call('f') + call('g')])).toEqual([{ ...nothing, toolCalls: [delta(0, 'f'), delta(1, 'g')] }, nothing]);
});

test('a call grows with its tokens, and its last delta says what is wrong with it', () => {
  const more = { index: 0, id: '', name: '' };
  expect(read(['<tool_call>{"name": "f", "argu', 'ments": {"a', '": 1']).map(({ toolCalls }) => toolCalls)).toEqual([
    [],
    [{ index: 0, id: 'c0', name: 'f', arguments: '{"a', fault: noFault }],
    [{ ...more, arguments: '": 1', fault: noFault }],
    [{ ...more, arguments: '', fault: ToolCallFault.TOOL_CALL_FAULT_TRUNCATED }],
  ]);
});

test('a stop string ends the reply before whatever else the same token brings', () => {
  const call = '<tool_call>{"name": "f"}</tool_call>';
  expect(read([`one two${call}three`], { stop: ['two'] })).toEqual([{ ...nothing, text: 'one ' }]);
});

test('text that was held when the reply ends is looked at before it is shown', () => {
  expect(read(['one <tool'], { stop: ['<to'] })).toEqual([{ ...nothing, text: 'one ' }, nothing]);
  expect(read(['one t', 'w<too'], { stop: ['w<t'] }).map(({ text }) => text)).toEqual(['one t', '', '']);
  expect(read(['one <tool'], { stop: ['<tool_'] }).map(({ text }) => text)).toEqual(['one ', '<tool']);
});

test('a stop string does not count in what the first tokens bring', () => {
  const texts = ['a', 'x', 'b', 'x'];
  expect(read(texts, { stop: ['x'], minTokens: 2 }).map(({ text }) => text)).toEqual(['a', 'x', 'b', '']);
});
