/** Hunyuan: reasoning, then the answer between <answer> tags; calls as one JSON list between <tool_calls> tags. */
import { readCallObject } from '../call-object.ts';
import type { Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { taggedFormat } from '../tagged-reply.ts';

const close = '</tool_calls>';

function* read(reply: Reply): Reading<boolean> {
  const { source } = reply;
  yield* source.skip(whitespace);
  if (!(yield* source.accept('[')) || !(yield* readCallObject(reply, [close]))) return false;
  for (;;) {
    yield* source.skip(whitespace);
    if (!(yield* source.comesNext([',']))) break;
    source.hold();
    yield* source.accept(',');
    if (yield* readCallObject(reply, [close])) continue;
    source.release('content');
    return true;
  }
  yield* source.accept(']');
  yield* source.skip(whitespace);
  yield* source.accept(close);
  return true;
}

export const hunyuan = taggedFormat({
  name: 'hunyuan',
  signs: ['<tool_calls>'],
  answer: { open: '<answer>', close: '</answer>' },
  calls: { opener: '<tool_calls>', markers: [close], read },
});
