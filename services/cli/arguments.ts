/** Parsers for values on the command line. A bad one ends with commander's own message, which names the option. */
import { InvalidArgumentError } from 'commander';

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

/** For an option that may be given several times. */
export function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

export const defaultAddress = '127.0.0.1:50051';
