/**
 * Reads fields of a Hugging Face config.json by name, with the names' alternatives, and says which field is missing, odd, or
 * was never asked for. Knows nothing about families.
 */
import { TriremeError } from '#platform/errors.ts';

/** No size in a config is larger; a bigger number is a damaged file. */
const largestSize = 2 ** 31 - 1;

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

export class ConfigReader {
  readonly #fields: Fields;
  readonly #prefix: string;
  /** Fields that somebody has asked for, and readers of those that are objects. */
  readonly #asked = new Set<string>();
  readonly #sections = new Map<string, ConfigReader>();

  private constructor(fields: Fields, prefix: string) {
    this.#fields = fields;
    this.#prefix = prefix;
  }

  /** Errors: INVALID_CHECKPOINT unless `json` is an object. */
  static over(json: unknown): ConfigReader {
    if (isFields(json)) return new ConfigReader(json, '');
    throw new TriremeError('INVALID_CHECKPOINT', `config.json holds ${show(json)}, not an object`);
  }

  /** The fields below `name`, or undefined when it is absent or null. */
  section(name: string): ConfigReader | undefined {
    const value = this.#value(name);
    if (value === undefined) return undefined;
    if (!isFields(value)) throw this.odd(name, value, 'an object');
    const known = this.#sections.get(name) ?? new ConfigReader(value, `${this.#prefix}${name}.`);
    this.#sections.set(name, known);
    return known;
  }

  /** For fields that change nothing about what is computed. */
  ignore(names: Iterable<string>): void {
    for (const name of names) this.#asked.add(name);
  }

  /** Errors: INVALID_CHECKPOINT naming a field that nobody has asked for: it may mean another model than the one read. */
  refuseUnknown(): void {
    for (const [name, value] of Object.entries(this.#fields)) {
      if (this.#asked.has(name) || value === null) continue;
      const message = `config.json: ${this.#prefix}${name} is ${show(value)}, and no part of what is known of this family`;
      throw new TriremeError('INVALID_CHECKPOINT', message, {
        remedy: 'Remove the field if it changes nothing about what the model computes',
      });
    }
    for (const section of this.#sections.values()) section.refuseUnknown();
  }

  /** True when the field is there and not null. */
  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  /** A whole number from 1. The first of `names` that is there counts; with none and no fallback it is missing. */
  size(names: string | readonly string[], fallback?: number): number {
    const [name, value] = this.#find(names);
    if (value === undefined && fallback !== undefined) return fallback;
    if (value === undefined) throw this.missing(names);
    if (!Number.isInteger(value) || Number(value) < 1 || Number(value) > largestSize) {
      throw this.odd(name, value, 'a whole number from 1');
    }
    return Number(value);
  }

  /** A whole number from 0. */
  count(name: string, fallback?: number): number {
    const value = this.#value(name) ?? fallback;
    if (value === undefined) throw this.missing(name);
    if (!Number.isInteger(value) || Number(value) < 0 || Number(value) > largestSize) {
      throw this.odd(name, value, 'a whole number from 0');
    }
    return Number(value);
  }

  /** True when the field is this number. */
  isNumber(name: string, value: number): boolean {
    return this.#value(name) === value;
  }

  /** A size, or a list of them that are all the same. */
  commonSize(name: string): number {
    const value = this.#value(name);
    if (!Array.isArray(value)) return this.size(name);
    const [first] = value;
    if (value.length === 0 || value.some((size) => size !== first)) {
      throw this.unsupported(name, value, 'the same size in every layer');
    }
    if (!Number.isInteger(first) || first < 1 || first > largestSize) throw this.odd(name, value, 'sizes from 1');
    return first;
  }

  /** One of these words. */
  word<Word extends string>(name: string, words: readonly Word[], fallback: Word): Word {
    const value = this.text(name) ?? fallback;
    const known = words.find((word) => word === value);
    if (known === undefined) throw this.unsupported(name, value, words.join(', '));
    return known;
  }

  /** A finite number above 0. */
  positive(name: string, fallback?: number): number {
    const value = this.#value(name) ?? fallback;
    if (value === undefined) throw this.missing(name);
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw this.odd(name, value, 'a number above 0');
    return value;
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.#value(name) ?? fallback;
    if (typeof value !== 'boolean') throw this.odd(name, value, 'true or false');
    return value;
  }

  text(name: string): string | undefined {
    const value = this.#value(name);
    if (value !== undefined && typeof value !== 'string') throw this.odd(name, value, 'a string');
    return value;
  }

  /** A list in which every element passes `accepts`; empty when the field is absent. */
  list<T>(name: string, what: string, accepts: (element: unknown) => element is T): readonly T[] {
    const value = this.#value(name) ?? [];
    if (!Array.isArray(value) || !value.every(accepts)) throw this.odd(name, value, `a list of ${what}`);
    return value;
  }

  /** With several names any of them would do. */
  missing(names: string | readonly string[]): TriremeError {
    const known = [names].flat().map((name) => `${this.#prefix}${name}`);
    return new TriremeError('INVALID_CHECKPOINT', `config.json has no field ${known.join(' or ')}`);
  }

  odd(name: string, value: unknown, wanted: string): TriremeError {
    const message = `config.json: ${this.#prefix}${name} is ${show(value)}, expected ${wanted}`;
    return new TriremeError('INVALID_CHECKPOINT', message);
  }

  /** For a value that is fine in itself but asks for something Trireme does not compute. */
  unsupported(name: string, value: unknown, supported: string): TriremeError {
    const message = `config.json: ${this.#prefix}${name} is ${show(value)}, which is not supported; supported: ${supported}`;
    return new TriremeError('INVALID_CHECKPOINT', message);
  }

  #find(names: string | readonly string[]): readonly [string, unknown] {
    const candidates = typeof names === 'string' ? [names] : names;
    const found = candidates.find((name) => this.has(name)) ?? candidates[0] ?? '';
    return [found, this.#value(found)];
  }

  /** undefined when absent or null. */
  #value(name: string): unknown {
    this.#asked.add(name);
    return this.#fields[name] ?? undefined;
  }
}
