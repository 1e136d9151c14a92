/** Arguments that the model writes as JSON. */
import { isJsonObject, parseJson } from '#platform/json-object.ts';
import { JsonScanner } from './json-scanner.ts';
import { findMarker } from './marker-search.ts';
import { maxHeldLength, type Reply } from './reply-format.ts';
import { type Reading, whitespace } from './reply-source.ts';

type Outcome = 'done' | 'broken' | 'ended';

/** Takes one JSON value; one that is longer than maxLength is broken there. onPiece gets it as it comes, ready to be parsed. */
function* readJson(
  { source }: Reply,
  onPiece: (piece: string) => void,
  maxLength = Number.POSITIVE_INFINITY,
): Reading<Outcome> {
  const scanner = new JsonScanner();
  for (let left = maxLength; ; ) {
    left -= source.take(scanner.scan(source.text.slice(0, left)), 'structure').length;
    onPiece(scanner.output);
    if (scanner.state !== 'open') return scanner.state;
    if (left === 0) return 'broken';
    if (yield* source.more()) continue;
    scanner.end();
    return scanner.state === 'open' ? 'ended' : scanner.state;
  }
}

/** A whole JSON value as text. undefined: it is none, does not end, or is too long. */
export function* readWholeJson(reply: Reply): Reading<string | undefined> {
  const { outcome, text } = yield* gatherJson(reply);
  return outcome === 'done' ? text : undefined;
}

function* gatherJson(reply: Reply): Reading<{ readonly outcome: Outcome; readonly text: string }> {
  let text = '';
  const onPiece = (piece: string): void => {
    text += piece;
  };
  return { outcome: yield* readJson(reply, onPiece, maxHeldLength), text };
}

/**
 * The arguments of the call that is open, which it closes: an object as it grows, or a text that holds one when it is whole.
 * Where they are neither, what stands before the first of the closers is passed on as it is and the call is at fault; the
 * closer is left.
 */
export function* readArguments(reply: Reply, closers: readonly string[]): Reading<void> {
  const { source, events } = reply;
  yield* source.skip(whitespace);
  if (yield* source.comesNext(closers)) {
    events.arguments('{}');
    return events.closeCall();
  }
  if (source.text.startsWith('{')) {
    const outcome = yield* readJson(reply, (piece) => events.arguments(piece));
    if (outcome === 'done') return events.closeCall();
  } else if (source.text.startsWith('"')) {
    const { outcome, text } = yield* gatherJson(reply);
    if (outcome === 'done') return writeArguments(reply, text);
    events.arguments(text);
  }
  yield* findMarker(source, {
    markers: closers,
    framed: false,
    onText: (length) => events.arguments(source.take(length, 'structure')),
  });
  events.closeCall(source.ended ? 'truncated' : 'malformed');
}

/** Arguments that are whole already. Some models write the object as a text that holds it. */
export function writeArguments({ events }: Reply, json: string): void {
  const value = parseJson(json)?.value;
  const inner = typeof value === 'string' ? value : json;
  const isObject = isJsonObject(parseJson(inner)?.value);
  events.arguments(isObject ? inner : json);
  events.closeCall(isObject ? undefined : 'malformed');
}
