/**
 * Values that the model writes without quotes: a text as it is, everything else as JSON. The function's schema tells which;
 * where it does not, what can be read as JSON is no text.
 */
import { parseJson } from '#platform/json-object.ts';
import { findMarker } from './marker-search.ts';
import { maxHeldLength, type Reply } from './reply-format.ts';
import type { Reading } from './reply-source.ts';
import type { ValueTypes } from './schema-types.ts';

/** As Python spells them, which some models do. */
const pythonWords = new Map([
  ['True', 'true'],
  ['False', 'false'],
  ['None', 'null'],
]);

/**
 * Takes a value and the end behind it, and passes it on as JSON: a text as it grows, anything else when it is whole. False: no
 * end comes.
 */
export function* readValue(reply: Reply, types: ValueTypes, ends: readonly string[]): Reading<boolean> {
  const { source, events } = reply;
  if (types?.size === 1 && types.has('string')) {
    events.arguments('"');
    const onText = (length: number): void => events.arguments(escapeText(source.take(length, 'structure')));
    const end = yield* findMarker(source, { markers: ends, framed: false, onText });
    if (!end) return false;
    source.take(end.length, 'structure');
    events.arguments('"');
    return true;
  }
  const literal = yield* source.readUpTo(ends, maxHeldLength);
  if (literal === undefined) return false;
  events.arguments(jsonOfLiteral(literal, types));
  for (const end of ends) if (yield* source.accept(end)) break;
  return true;
}

/** A literal as JSON text. What fits no other type is a text. */
export function jsonOfLiteral(literal: string, types: ValueTypes): string {
  const trimmed = literal.trim();
  const json = types?.has('string') ? trimmed : (pythonWords.get(trimmed) ?? trimmed);
  const parsed = parseJson(json);
  if (!parsed) return quote(literal);
  const { value } = parsed;
  // With a text allowed, 5 is more likely one that looks like a number; brackets and null are hardly ever meant as texts.
  const isMeant = !types?.has('string') || (typeof value === 'object' && types.has(typeName(value)));
  return isMeant && !(types === undefined && typeof value === 'string') ? json : quote(literal);
}

function typeName(value: object | null): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : 'object';
}

function quote(text: string): string {
  return `"${escapeText(text)}"`;
}

/** Character by character, so that pieces of a text give the same as the whole. */
function escapeText(text: string): string {
  return text.replace(/["\\\p{Cc}]/gu, (character) => JSON.stringify(character).slice(1, -1));
}
