/** Reads the metadata of a GGUF file by key, says which key is missing or odd, and which nobody has asked for. */
import { TriremeError } from '#platform/errors.ts';
import type { MetadataValue } from './metadata-value.ts';

/** No size in a model is larger; a bigger number is a damaged file. */
const largestSize = 2 ** 31 - 1;

export class Metadata {
  readonly file: string;
  readonly #values: ReadonlyMap<string, MetadataValue>;
  readonly #asked = new Set<string>();

  /** `file` is for messages. */
  constructor(values: ReadonlyMap<string, MetadataValue>, file: string) {
    this.#values = values;
    this.file = file;
  }

  keys(): Iterable<string> {
    return this.#values.keys();
  }

  has(key: string): boolean {
    return this.#values.has(key);
  }

  text(key: string): string | undefined {
    const value = this.#value(key);
    if (value !== undefined && typeof value !== 'string') throw this.odd(key, 'a text');
    return value;
  }

  /** A finite number. */
  number(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.odd(key, 'a number');
    return value;
  }

  /** A whole number from 0. */
  count(key: string): number | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (!isCount(value)) throw this.odd(key, 'a whole number from 0');
    return value;
  }

  /** A whole number, or a list with the same one for every layer. */
  commonCount(key: string): number | undefined {
    const value = this.#value(key);
    if (!Array.isArray(value)) return this.count(key);
    const [first] = value as readonly unknown[];
    if (!isCount(first) || value.some((count) => count !== first)) throw this.odd(key, 'the same size in every layer');
    return first;
  }

  /** A number or a truth. */
  scalar(key: string): number | boolean | undefined {
    const value = this.#value(key);
    if (value === undefined || typeof value === 'number' || typeof value === 'boolean') return value;
    throw this.odd(key, 'a number or true or false');
  }

  isList(key: string): boolean {
    return Array.isArray(this.#value(key));
  }

  flag(key: string): boolean | undefined {
    const value = this.#value(key);
    if (value !== undefined && typeof value !== 'boolean') throw this.odd(key, 'true or false');
    return value;
  }

  texts(key: string): readonly string[] | undefined {
    return this.list(key, 'texts', (value): value is string => typeof value === 'string');
  }

  numbers(key: string): readonly number[] | undefined {
    return this.list(key, 'numbers', (value): value is number => typeof value === 'number' && Number.isFinite(value));
  }

  /** A list in which every element passes `accepts`. */
  list<T>(key: string, what: string, accepts: (element: unknown) => element is T): readonly T[] | undefined {
    const value: unknown = this.#value(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every(accepts)) throw this.odd(key, `a list of ${what}`);
    return value;
  }

  /** For keys that change nothing about what is computed. */
  ignore(keys: readonly string[]): void {
    for (const key of keys) this.#asked.add(key);
  }

  /** Errors: INVALID_CHECKPOINT naming a key with this beginning that nobody has asked for: it may mean another model. */
  refuseUnknown(prefix: string): void {
    const unknown = [...this.#values.keys()].find((key) => key.startsWith(prefix) && !this.#asked.has(key));
    if (unknown === undefined) return;
    throw this.#refusal(`${unknown} is ${this.#show(unknown)}, and no part of what is known of this architecture`);
  }

  missing(key: string): TriremeError {
    return this.#refusal(`the metadata has no ${key}`);
  }

  odd(key: string, wanted: string): TriremeError {
    return this.#refusal(`${key} is ${this.#show(key)}, expected ${wanted}`);
  }

  /** For a value that is fine in itself but asks for something Trireme does not compute. */
  unsupported(key: string, supported: string): TriremeError {
    return this.#refusal(`${key} is ${this.#show(key)}, which is not supported; supported: ${supported}`);
  }

  #refusal(what: string): TriremeError {
    return new TriremeError('INVALID_CHECKPOINT', `${this.file}: ${what}`, {
      remedy: 'Fetch another conversion of the model, or its safetensors files',
    });
  }

  #value(key: string): MetadataValue | undefined {
    this.#asked.add(key);
    return this.#values.get(key);
  }

  #show(key: string): string {
    const value = this.#values.get(key);
    const text = JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? String(part) : part));
    return (text ?? '').length > 60 ? `${text.slice(0, 60)}...` : text;
  }
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= largestSize;
}
