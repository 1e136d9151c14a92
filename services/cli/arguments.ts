/** Parsers for values on the command line. A bad one ends with commander's own message, which names the option. */
import { InvalidArgumentError } from 'commander';
import { parseListenAddress } from '#platform/listen.ts';

/** What an int32 of a request holds. */
export const largestCount = 2 ** 31 - 1;

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^-?\d+$/.test(text) && Number.isSafeInteger(value) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `Expected a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}.`,
    );
  };
}

export function decimalNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number.');
}

/** 64 bits do not fit a number, so a seed stays text. */
export function seedNumber(text: string): string {
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 1n << 64n) return text;
  throw new InvalidArgumentError('Expected a whole number from 0 to 18446744073709551615.');
}

/** Where a server is: host:port. */
export function serverAddress(text: string): string {
  try {
    if (parseListenAddress(text).port > 0) return text;
  } catch {
    // Said below, in the words for an option.
  }
  throw new InvalidArgumentError('Expected host:port, such as 127.0.0.1:50051.');
}

/** Of several, separated by commas. */
export function serverAddresses(text: string): readonly string[] {
  return text.split(',').map((one) => serverAddress(one.trim()));
}

export function serverUrl(...schemes: readonly string[]): (text: string) => string {
  return (text) => {
    const url = URL.parse(text);
    if (url && schemes.includes(url.protocol.slice(0, -1)) && url.host !== '') return text;
    throw new InvalidArgumentError(`Expected a URL such as ${schemes[0]}://127.0.0.1:1234.`);
  };
}

/** For an option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

export const defaultAddress = '127.0.0.1:50051';
