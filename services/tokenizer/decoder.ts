/** Reads the `decoder` of a tokenizer.json into a chain of stages. */
import { isJsonObject, type JsonObject } from '#platform/json-object.ts';
import {
  byteFallback,
  byteLevel,
  metaspace,
  replace,
  type Stage,
  type StageMaker,
  type StageOptions,
  stripPieces,
  stripText,
} from './decode-stages.ts';

const supported = 'ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Sequence, Strip';

/** Errors: an Error that says what is wrong, for the caller to name the file. */
export function compileDecoder(config: unknown): StageMaker {
  const makers: StageMaker[] = [];
  let isFused = false;
  for (const step of flatten(config)) {
    if (step.type === 'Fuse') isFused = true;
    else makers.push(compileStep(step, isFused));
  }
  return (last: Stage, options: StageOptions) => makers.reduceRight((next, maker) => maker(next, options), last);
}

function flatten(config: unknown): JsonObject[] {
  if (!isJsonObject(config)) throw new Error(`"decoder" must be an object of one of the types ${supported}`);
  if (config.type !== 'Sequence') return [config];
  const { decoders } = config;
  if (!Array.isArray(decoders)) throw new Error('a decoder of type Sequence needs the list "decoders"');
  return decoders.flatMap(flatten);
}

/** isFused: what comes in is one text in pieces, no longer a list of tokens. */
function compileStep(step: JsonObject, isFused: boolean): StageMaker {
  switch (step.type) {
    case 'ByteLevel':
      return byteLevel();
    case 'ByteFallback':
      return byteFallback;
    case 'Metaspace':
      return metaspace(textOf(step, 'replacement', '\u2581'), step.prepend_scheme !== 'never');
    case 'Replace':
      return replace(patternOf(step, isFused), textOf(step, 'content', ''));
    case 'Strip': {
      const strip = isFused ? stripText : stripPieces;
      return strip(textOf(step, 'content', ' '), countOf(step, 'start'), countOf(step, 'stop'));
    }
    default:
      throw new Error(`decoder type ${JSON.stringify(step.type)} is not supported, only ${supported}`);
  }
}

function patternOf(step: JsonObject, isFused: boolean): string | RegExp {
  const pattern = isJsonObject(step.pattern) ? step.pattern : {};
  const { String: text, Regex: regex } = pattern;
  if (isFused && !(typeof text === 'string' && text.length === 1)) {
    throw new Error('a decoder of type Replace after Fuse may replace one character only');
  }
  if (typeof text === 'string' && text !== '') return text;
  if (typeof regex === 'string') return new RegExp(regex, 'gu');
  throw new Error('a decoder of type Replace needs a "pattern" with "String" or "Regex"');
}

function textOf(step: JsonObject, key: string, fallback: string): string {
  const value = step[key] ?? fallback;
  if (typeof value !== 'string') throw new Error(`"${key}" of decoder ${String(step.type)} must be a text`);
  return value;
}

function countOf(step: JsonObject, key: string): number {
  const value = step[key] ?? 0;
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    throw new Error(`"${key}" of decoder ${String(step.type)} must be a whole number`);
  }
  return value as number;
}
