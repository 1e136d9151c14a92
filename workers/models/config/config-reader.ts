/**
 * Reads fields of a Hugging Face config.json by name, with the names' alternatives, and says which field is missing, odd, or
 * was never asked for. Knows nothing about families.
 */
import { isDeepStrictEqual } from 'node:util';
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
  /** Of a config inside another: the fields beside it, which count where it has none. */
  readonly #outer: Fields;
  /** For messages. */
  readonly file: string;
  readonly #prefix: string;
  /** Fields that somebody has asked for, and readers of those that are objects. */
  readonly #asked = new Set<string>();
  readonly #sections = new Map<string, ConfigReader>();

  private constructor(fields: Fields, file: string, prefix: string, outer: Fields = {}) {
    this.#fields = fields;
    this.file = file;
    this.#prefix = prefix;
    this.#outer = outer;
  }

  /** `file` is for messages. Errors: INVALID_CHECKPOINT unless `json` is an object. */
  static over(json: unknown, file = 'config.json'): ConfigReader {
    if (isFields(json)) return new ConfigReader(json, file, '');
    throw new TriremeError('INVALID_CHECKPOINT', `${file} holds ${show(json)}, not an object`);
  }

  /**
   * As `section`, but fields beside it count as well, as far as it has none of that name. Errors: INVALID_CHECKPOINT for one that
   * both have, not alike and not among `mayDiffer`.
   */
  inner(name: string, mayDiffer: ReadonlySet<string>): ConfigReader | undefined {
    const fields = this.#value(name);
    if (fields === undefined) return undefined;
    if (!isFields(fields)) throw this.odd(name, fields, 'an object');
    const { [name]: _, ...outer } = this.#fields;
    for (const [field, value] of Object.entries(outer)) {
      const inside = fields[field] ?? value;
      if (value === null || mayDiffer.has(field) || isDeepStrictEqual(inside, value)) continue;
      throw this.odd(field, value, `${show(inside)}, as ${name}.${field} says`);
    }
    return new ConfigReader(fields, this.file, `${this.#prefix}${name}.`, outer);
  }

  /** The fields below `name`, or undefined when it is absent or null. */
  section(name: string): ConfigReader | undefined {
    const value = this.#value(name);
    if (value === undefined) return undefined;
    if (!isFields(value)) throw this.odd(name, value, 'an object');
    const known = this.#sections.get(name) ?? new ConfigReader(value, this.file, `${this.#path(name)}.`);
    this.#sections.set(name, known);
    return known;
  }

  /** For fields that change nothing about what is computed. */
  ignore(names: Iterable<string>): void {
    for (const name of names) this.#asked.add(name);
  }

  /** Errors: INVALID_CHECKPOINT naming a field that nobody has asked for: it may mean another model than the one read. */
  refuseUnknown(): void {
    for (const [name, value] of Object.entries({ ...this.#outer, ...this.#fields })) {
      if (this.#asked.has(name) || value === null) continue;
      const message = `${this.file}: ${this.#path(name)} is ${show(value)}, and no part of what is known of this family`;
      throw new TriremeError('INVALID_CHECKPOINT', message, {
        remedy: 'Remove the field if it changes nothing about what the model computes',
      });
    }
    for (const section of this.#sections.values()) section.refuseUnknown();
  }

  /** Names of the fields, for sections whose names are free. */
  get names(): readonly string[] {
    return Object.keys(this.#fields);
  }

  /** True when the field is there and not null. */
  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  /** A whole number from 1. With several names all that are there say the same; with none and no fallback it is missing. */
  size(names: string | readonly string[], fallback?: number): number {
    return this.#agreed(names, fallback, (name, value) => this.#asSize(name, value));
  }

  /** As `size`, but any of the names may hold a list of sizes that are all the same. */
  commonSize(names: string | readonly string[], fallback?: number): number {
    return this.#agreed(names, fallback, (name, value) => {
      if (!Array.isArray(value)) return this.#asSize(name, value);
      const sizes = value.map((size) => this.#asSize(name, size));
      const [first] = sizes;
      if (first !== undefined && sizes.every((size) => size === first)) return first;
      throw this.unsupported(name, value, 'the same size in every layer');
    });
  }

  /** A whole number from 1, or null, which means something else than a field that is absent. */
  sizeOrNull(name: string): number | null {
    if (this.#value(name) === undefined && name in this.#fields) return null;
    return this.size(name);
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

  /** One of these words. */
  word<Word extends string>(name: string, words: readonly Word[], fallback?: Word): Word {
    const value = this.text(name) ?? fallback;
    if (value === undefined) throw this.missing(name);
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

  /** For a field that changes what is computed, where one value alone is: absent, or one of these spellings of it. */
  only(name: string, ...values: readonly unknown[]): void {
    const value = this.#value(name);
    if (value === undefined || values.some((known) => isDeepStrictEqual(known, value))) return;
    throw this.unsupported(name, value, values.map(show).join(' or '));
  }

  flag(name: string, fallback?: boolean): boolean {
    const value = this.#value(name) ?? fallback;
    if (value === undefined) throw this.missing(name);
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
    const known = [names].flat().map((name) => this.#path(name));
    return new TriremeError('INVALID_CHECKPOINT', `${this.file} has no field ${known.join(' or ')}`);
  }

  odd(name: string, value: unknown, wanted: string): TriremeError {
    const message = `${this.file}: ${this.#path(name)} is ${show(value)}, expected ${wanted}`;
    return new TriremeError('INVALID_CHECKPOINT', message);
  }

  /** For a value that is fine in itself but asks for something Trireme does not compute. */
  unsupported(name: string, value: unknown, supported: string): TriremeError {
    const message = `${this.file}: ${this.#path(name)} is ${show(value)}, which is not supported; supported: ${supported}`;
    return new TriremeError('INVALID_CHECKPOINT', message);
  }

  #agreed<T>(names: string | readonly string[], fallback: T | undefined, read: (name: string, value: unknown) => T): T {
    const [first, ...others] = [names].flat().flatMap((name) => {
      const value = this.#value(name);
      return value === undefined ? [] : [{ name, value: read(name, value) }];
    });
    const other = others.find(({ value }) => value !== first?.value);
    if (first && other) throw this.odd(other.name, other.value, `${first.value}, as ${this.#path(first.name)} says`);
    const value = first?.value ?? fallback;
    if (value === undefined) throw this.missing(names);
    return value;
  }

  #asSize(name: string, value: unknown): number {
    if (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= largestSize) return Number(value);
    throw this.odd(name, value, 'a whole number from 1');
  }

  /** Where the field is, or would be. */
  #path(name: string): string {
    return name in this.#outer && !(name in this.#fields) ? name : `${this.#prefix}${name}`;
  }

  /** undefined when absent or null. */
  #value(name: string): unknown {
    this.#asked.add(name);
    return this.#fields[name] ?? this.#outer[name] ?? undefined;
  }
}
