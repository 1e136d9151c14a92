/** Qwen3-Coder, Qwen3.5 and later: <function=NAME> with a <parameter=KEY> for each argument; values are typed by the schema. */
import { type ParameterSyntax, readParameters } from '../parameter-calls.ts';
import { isFunctionName, maxNameLength, type Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { taggedFormat } from '../tagged-reply.ts';

const open = '<tool_call>';
const close = '</tool_call>';
const functionOpen = '<function=';

const parameters: ParameterSyntax = {
  opener: '<parameter=',
  *readHead({ source }) {
    const key = yield* source.readUpTo(['>'], maxNameLength);
    if (key === undefined) return undefined;
    yield* source.accept('>');
    // The newlines around a value are markup.
    yield* source.accept('\n');
    return { key };
  },
  valueEnds: ['\n</parameter>', '</parameter>'],
  end: '</function>',
};

function* read(reply: Reply): Reading<boolean> {
  const { source } = reply;
  yield* source.skip(whitespace);
  if (!(yield* source.accept(functionOpen))) return false;
  const name = yield* source.readUpTo(['>'], maxNameLength);
  if (!isFunctionName(name) || !(yield* source.accept('>'))) return false;
  if (!(yield* readParameters(reply, name, parameters))) return false;
  yield* source.skip(whitespace);
  yield* source.accept(close);
  return true;
}

export const qwenXml = taggedFormat({
  name: 'qwen-xml',
  signs: [functionOpen],
  calls: { opener: open, markers: [close], read },
});
