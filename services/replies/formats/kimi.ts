/** Kimi K2: a section of calls with ids that count over the conversation, functions.NAME:INDEX, and JSON arguments. */
import { readSection } from '../call-section.ts';
import { readArguments } from '../json-arguments.ts';
import { beginCall, isFunctionName, maxNameLength, type Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { taggedFormat } from '../tagged-reply.ts';

const sectionOpen = '<|tool_calls_section_begin|>';
const sectionClose = '<|tool_calls_section_end|>';
const callOpen = '<|tool_call_begin|>';
const callClose = '<|tool_call_end|>';
const argumentsOpen = '<|tool_call_argument_begin|>';

function* readCall(reply: Reply): Reading<boolean> {
  const { source } = reply;
  const id = (yield* source.readUpTo([argumentsOpen], maxNameLength))?.trim();
  const name = id?.replace(/^functions\./, '').replace(/:\d+$/, '');
  if (!isFunctionName(name)) return false;
  yield* source.accept(argumentsOpen);
  beginCall(reply, name, id);
  yield* readArguments(reply, [callClose, sectionClose]);
  yield* source.skip(whitespace);
  yield* source.accept(callClose);
  return true;
}

export const kimi = taggedFormat({
  name: 'kimi',
  signs: [sectionOpen],
  calls: {
    opener: sectionOpen,
    markers: [sectionClose, callOpen, callClose, argumentsOpen],
    // It may call right out of its thoughts.
    endsReasoning: true,
    read: (reply) => readSection(reply, { close: sectionClose, opener: callOpen, read: readCall }),
  },
});
