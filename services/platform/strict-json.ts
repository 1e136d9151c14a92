/**
 * JSON (RFC 8259) that means one thing only: UTF-8 without a fault, and no object with the same key twice, of which every reader
 * would take another.
 */

/** Throws an Error whose message ends the sentence "the file is malformed: ...". */
export function parseStrictJson(bytes: Uint8Array): unknown {
  const text = decodeUtf8(bytes);
  const value: unknown = JSON.parse(text);
  const twice = repeatedKey(text);
  if (twice !== undefined) throw new Error(`the key ${JSON.stringify(twice)} comes twice in one object`);
  return value;
}

/** Throws an Error, as above. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error('it is not UTF-8', { cause });
  }
}

/** The first key that an object repeats. `text` is valid JSON. */
function repeatedKey(text: string): string | undefined {
  /** Keys of the objects that are open; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  let lastString = '';
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{') open.push(new Set());
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      lastString = text.slice(at, end + 1);
      at = end;
    } else if (character === ':') {
      // What stands before a colon is a key; two spellings of it are one key.
      const key = JSON.parse(lastString) as string;
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  }
  return undefined;
}

/** Where the string that begins at `start` has its closing quote. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; ; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '"') return at;
  }
}
