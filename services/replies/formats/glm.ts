/** GLM-4.5 and later: the name, then pairs of <arg_key> and <arg_value>, with newlines between them or without. */
import { type ParameterSyntax, readParameters } from '../parameter-calls.ts';
import { isFunctionName, maxNameLength, type Reply } from '../reply-format.ts';
import { type Reading, whitespace } from '../reply-source.ts';
import { taggedFormat } from '../tagged-reply.ts';

const open = '<tool_call>';
const close = '</tool_call>';
const key = { open: '<arg_key>', close: '</arg_key>' };
const value = { open: '<arg_value>', close: '</arg_value>' };

const parameters: ParameterSyntax = {
  opener: key.open,
  *readHead({ source }) {
    const name = yield* source.readUpTo([key.close], maxNameLength);
    if (name === undefined) return undefined;
    yield* source.accept(key.close);
    yield* source.skip(whitespace);
    return (yield* source.accept(value.open)) ? { key: name } : undefined;
  },
  valueEnds: [value.close],
  end: close,
};

function* read(reply: Reply): Reading<boolean> {
  const name = (yield* reply.source.readUpTo(['\n', key.open, close], maxNameLength))?.trim();
  return isFunctionName(name) && (yield* readParameters(reply, name, parameters));
}

export const glm = taggedFormat({
  name: 'glm',
  signs: [key.open],
  calls: { opener: open, markers: [close, key.open, key.close, value.open, value.close], read },
});
