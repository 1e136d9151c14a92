/** A call as one JSON object: {"name": …, "arguments": {…}}. */
import { readArguments, readWholeJson, writeArguments } from './json-arguments.ts';
import { beginCall, maxNameLength, type Reply } from './reply-format.ts';
import { type Reading, whitespace } from './reply-source.ts';

/**
 * Arguments stream when the name stands before them, which is what models are told to write. The source has to hold; true
 * when a call has begun, and only then it holds no more. closers: what ends the call when its JSON is broken.
 */
export function* readCallObject(reply: Reply, closers: readonly string[]): Reading<boolean> {
  const { source } = reply;
  yield* source.skip(whitespace);
  if (!(yield* source.accept('{'))) return false;
  let name: string | undefined;
  let early: string | undefined;
  let hasBegun = false;
  for (;;) {
    const key = yield* readKey(reply);
    if (key === undefined) break;
    if (key === 'arguments' && name !== undefined && !hasBegun) {
      hasBegun = true;
      beginCall(reply, name);
      yield* readArguments(reply, closers);
    } else {
      const value = yield* readWholeJson(reply);
      if (value === undefined) break;
      if (key === 'name') name = nameOf(value);
      if (key === 'arguments') early = value;
    }
    yield* source.skip(whitespace);
    if (yield* source.accept(',')) continue;
    if (!(yield* source.accept('}'))) break;
    return hasBegun || begin(reply, name, early);
  }
  return hasBegun;
}

/** A member's key and the colon behind it. undefined: none comes. */
function* readKey(reply: Reply): Reading<string | undefined> {
  const { source } = reply;
  yield* source.skip(whitespace);
  if (!(yield* source.comesNext(['"']))) return undefined;
  const key = yield* readWholeJson(reply);
  yield* source.skip(whitespace);
  if (key === undefined || !(yield* source.accept(':'))) return undefined;
  yield* source.skip(whitespace);
  return JSON.parse(key) as string;
}

/** A call of which all is known. */
function begin(reply: Reply, name: string | undefined, json = '{}'): boolean {
  if (name === undefined) return false;
  beginCall(reply, name);
  writeArguments(reply, json);
  return true;
}

function nameOf(json: string): string | undefined {
  const value: unknown = JSON.parse(json);
  return typeof value === 'string' && value !== '' && value.length <= maxNameLength ? value : undefined;
}
