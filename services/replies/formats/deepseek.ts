/**
 * DeepSeek: a section of calls, each a header and JSON arguments. V3 and R1 write the kind of call before the name and fence the
 * arguments; V3.1 writes the name and the bare object.
 */
import { readSection } from '../call-section.ts';
import { readArguments } from '../json-arguments.ts';
import { beginCall, isFunctionName, maxNameLength, type Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { type CallSyntax, taggedFormat } from '../tagged-reply.ts';

const sectionOpen = '<｜tool▁calls▁begin｜>';
const sectionClose = '<｜tool▁calls▁end｜>';
const callOpen = '<｜tool▁call▁begin｜>';
const callClose = '<｜tool▁call▁end｜>';
const separator = '<｜tool▁sep｜>';
const fence = '```';

function* readFenced(reply: Reply): Reading<boolean> {
  const { source } = reply;
  if (!(yield* source.accept(`function${separator}`))) return false;
  const name = (yield* source.readUpTo(['\n'], maxNameLength))?.trim();
  if (!isFunctionName(name) || !(yield* source.accept(`\n${fence}json`))) return false;
  beginCall(reply, name);
  yield* readArguments(reply, [fence, callClose, sectionClose]);
  yield* source.skip(whitespace);
  yield* source.accept(fence);
  yield* source.skip(whitespace);
  yield* source.accept(callClose);
  return true;
}

function* readBare(reply: Reply): Reading<boolean> {
  const { source } = reply;
  const name = (yield* source.readUpTo([separator], maxNameLength))?.trim();
  if (!isFunctionName(name) || !(yield* source.accept(separator))) return false;
  beginCall(reply, name);
  yield* readArguments(reply, [callClose, sectionClose]);
  yield* source.skip(whitespace);
  yield* source.accept(callClose);
  return true;
}

function callsReadBy(read: (reply: Reply) => Reading<boolean>): CallSyntax {
  return {
    opener: sectionOpen,
    markers: [sectionClose, callOpen, callClose, separator],
    read: (reply) => readSection(reply, { close: sectionClose, opener: callOpen, read }),
  };
}

export const deepseekV3 = taggedFormat({
  name: 'deepseek-v3',
  signs: [sectionOpen, `${fence}json`],
  calls: callsReadBy(readFenced),
});

export const deepseekV31 = taggedFormat({
  name: 'deepseek-v3.1',
  signs: [sectionOpen],
  calls: callsReadBy(readBare),
});
