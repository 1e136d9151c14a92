/** Calls whose arguments stand one by one, each between markers; they become a JSON object as they come. */
import { isJsonObject } from '#platform/json-object.ts';
import { readValue } from './parameter-value.ts';
import { beginCall, type Reply } from './reply-format.ts';
import { type Reading, whitespace } from './reply-source.ts';
import { typesOf, type ValueTypes } from './schema-types.ts';

export interface ParameterSyntax {
  /** Begins a parameter. */
  readonly opener: string;
  /** Reads from behind the opener up to the value. undefined: that is no parameter. */
  readHead(reply: Reply): Reading<ParameterHead | undefined>;
  /** Any of them ends a value. */
  readonly valueEnds: readonly string[];
  /** Ends the parameters. */
  readonly end: string;
}

export interface ParameterHead {
  readonly key: string;
  /** As the model itself says; undefined: it does not, and the schema counts. */
  readonly isText?: boolean | undefined;
}

/**
 * Reads what follows a function's name. The source has to hold; true when a call has begun, and only then it holds no more.
 * What is no parameter ends the call as malformed and is content; a part of one, at the end of the reply, is passed on as it is.
 */
export function* readParameters(reply: Reply, name: string, syntax: ParameterSyntax): Reading<boolean> {
  const { source, events } = reply;
  const { opener, end, valueEnds, readHead } = syntax;
  yield* source.skip(whitespace);
  if (!(yield* source.comesNext([opener, end]))) return false;
  beginCall(reply, name);
  events.arguments('{');
  for (let separator = ''; ; separator = ',') {
    yield* source.skip(whitespace);
    if (yield* source.accept(end)) {
      events.arguments('}');
      events.closeCall();
      return true;
    }
    source.hold();
    const head = (yield* source.accept(opener)) ? yield* readHead(reply) : undefined;
    if (!head) return giveUp(reply);
    source.release('structure');
    events.arguments(`${separator}${JSON.stringify(head.key)}:`);
    if (!(yield* readValue(reply, typesOfParameter(reply, name, head), valueEnds))) {
      source.hold();
      return giveUp(reply);
    }
  }
}

/** Ends a call in which no parameter comes where one should. The source holds what comes instead. */
function giveUp({ source, events }: Reply): true {
  if (source.ended) {
    events.arguments(source.release('structure') + source.takeRest('structure'));
    events.closeCall('truncated');
  } else {
    events.closeCall('malformed');
    source.release('content');
  }
  return true;
}

function typesOfParameter({ schemas }: Reply, name: string, { key, isText }: ParameterHead): ValueTypes {
  if (isText === true) return new Set(['string']);
  const root = schemas.get(name);
  const properties = root?.properties;
  const types = root && isJsonObject(properties) ? typesOf(properties[key], root) : undefined;
  if (isText === undefined || !types) return types;
  return new Set([...types].filter((type) => type !== 'string'));
}
