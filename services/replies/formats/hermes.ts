/** Qwen2.5, Qwen3 and many others: <tool_call>, a JSON object, </tool_call>. */
import { readCallObject } from '../call-object.ts';
import type { Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { type CallSyntax, taggedFormat } from '../tagged-reply.ts';

const close = '</tool_call>';

function* read(reply: Reply): Reading<boolean> {
  if (!(yield* readCallObject(reply, [close]))) return false;
  yield* reply.source.skip(whitespace);
  yield* reply.source.accept(close);
  return true;
}

export const hermesCalls: CallSyntax = { opener: '<tool_call>', markers: [close], read };

export const hermes = taggedFormat({ name: 'hermes', signs: ['<tool_call>'], calls: hermesCalls });
