/**
 * Bytes in, text out, half a character held back. What comes out in total is what TextDecoder makes of all bytes at once:
 * the cut is always before a lead byte, where a decoder has no memory of what was before.
 */

const noBytes = new Uint8Array(0);

export class Utf8Stream {
  #held: Uint8Array = noBytes;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });

  get isClean(): boolean {
    return this.#held.length === 0;
  }

  push(bytes: Uint8Array): string {
    const all = this.isClean ? bytes : concatenate(this.#held, bytes);
    const whole = all.length - incompleteTailLength(all);
    this.#held = whole === all.length ? noBytes : all.slice(whole);
    return whole === 0 ? '' : this.#decoder.decode(all.subarray(0, whole));
  }

  /** What is held, as replacement characters. */
  flush(): string {
    if (this.isClean) return '';
    const text = this.#decoder.decode(this.#held);
    this.#held = noBytes;
    return text;
  }
}

/** Bytes at the end that may be the beginning of a character: at most 3. */
export function incompleteTailLength(bytes: Uint8Array): number {
  const most = Math.min(3, bytes.length);
  for (let length = 1; length <= most; length++) {
    const byte = bytes[bytes.length - length]!;
    if ((byte & 0xc0) === 0x80) continue;
    return characterLength(byte) > length ? length : 0;
  }
  return 0;
}

function characterLength(lead: number): number {
  if (lead < 0xc0) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

function concatenate(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}
