/** Calls as <invoke name="…"> with <parameter name="…"> inside, in a section of their own. */
import { readSection } from './call-section.ts';
import { type ParameterHead, type ParameterSyntax, readParameters } from './parameter-calls.ts';
import { isFunctionName, maxNameLength, type Reply } from './reply-format.ts';
import type { Reading } from './reply-source.ts';
import type { CallSyntax } from './tagged-reply.ts';

export interface InvokeSyntax {
  /** Name of the section's tag. */
  readonly section: string;
  /** What stands before the name of every tag. */
  readonly prefix: string;
}

export function invokeCalls({ section, prefix }: InvokeSyntax): CallSyntax {
  const opener = `<${prefix}${section}>`;
  const close = `</${prefix}${section}>`;
  const parameters: ParameterSyntax = {
    opener: `<${prefix}parameter name="`,
    readHead,
    valueEnds: [`</${prefix}parameter>`],
    end: `</${prefix}invoke>`,
  };
  const { end, valueEnds } = parameters;
  const invoke = `<${prefix}invoke name="`;
  return {
    opener,
    markers: [close, invoke, end, parameters.opener, ...valueEnds],
    read: (reply) => readSection(reply, { close, opener: invoke, read: (inner) => readInvoke(inner, parameters) }),
  };
}

function* readInvoke(reply: Reply, parameters: ParameterSyntax): Reading<boolean> {
  const { source } = reply;
  const name = yield* source.readUpTo(['"'], maxNameLength);
  if (!isFunctionName(name) || !(yield* source.accept('">'))) return false;
  return yield* readParameters(reply, name, parameters);
}

/** KEY">, or KEY" string="true"> where the model says whether the value is a text. */
function* readHead({ source }: Reply): Reading<ParameterHead | undefined> {
  const key = yield* source.readUpTo(['"'], maxNameLength);
  if (key === undefined) return undefined;
  if (yield* source.accept('">')) return { key };
  if (!(yield* source.accept('" string="'))) return undefined;
  const isText = yield* source.readUpTo(['"'], 'false'.length);
  return (yield* source.accept('">')) ? { key, isText: isText === 'true' } : undefined;
}
