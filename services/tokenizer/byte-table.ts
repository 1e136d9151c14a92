/**
 * Byte-level vocabularies spell every byte as one printable character, so that a token is always a valid string: bytes that
 * print stand for themselves, the others take the characters from U+0100 on, in order (the table of GPT-2's tokenizer).
 */

const printable: readonly (readonly [number, number])[] = [
  [0x21, 0x7e],
  [0xa1, 0xac],
  [0xae, 0xff],
];

const byteOfCharacter = buildTable();
const utf8 = new TextEncoder();

/** The bytes that a token of a byte-level vocabulary stands for; one that is not spelled by the table stands for itself. */
export function bytesOfToken(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = byteOfCharacter.get(token.charCodeAt(i));
    if (byte === undefined) return utf8.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}

/** Code unit -> byte. */
function buildTable(): ReadonlyMap<number, number> {
  const table = new Map<number, number>();
  let next = 0x100;
  for (let byte = 0; byte < 0x100; byte++) {
    const prints = printable.some(([first, last]) => byte >= first && byte <= last);
    table.set(prints ? byte : next++, byte);
  }
  return table;
}
