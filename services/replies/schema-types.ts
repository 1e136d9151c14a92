/** Which kinds of JSON value a schema allows, as far as it takes to tell a text from everything else. */
import { isJsonObject, type JsonObject } from '#platform/json-object.ts';

/** Names as in JSON schema: string, number, integer, boolean, null, array, object. undefined: the schema does not say. */
export type ValueTypes = ReadonlySet<string> | undefined;

/** Schemas inside each other; what lies deeper says nothing. */
const maxDepth = 32;

/** root: what references in the schema point into. */
export function typesOf(schema: unknown, root: JsonObject): ValueTypes {
  return new SchemaReader(root).read(schema, 0);
}

class SchemaReader {
  readonly #root: JsonObject;
  /** Each schema is read once, however many references lead to it; one that leads to itself says nothing. */
  readonly #known = new Map<JsonObject, ValueTypes>();

  constructor(root: JsonObject) {
    this.#root = root;
  }

  read(schema: unknown, depth: number): ValueTypes {
    if (!isJsonObject(schema) || depth > maxDepth) return undefined;
    if (this.#known.has(schema)) return this.#known.get(schema);
    this.#known.set(schema, undefined);
    const types = this.#typesOf(schema, depth);
    this.#known.set(schema, types);
    return types;
  }

  #typesOf(schema: JsonObject, depth: number): ValueTypes {
    const { type, $ref: reference, enum: values, properties, items } = schema;
    if (typeof type === 'string') return new Set([type]);
    if (Array.isArray(type)) return new Set(type.filter((name) => typeof name === 'string'));
    if (Array.isArray(values)) return new Set(values.map(typeOfValue));
    if ('const' in schema) return new Set([typeOfValue(schema.const)]);
    if (typeof reference === 'string') return this.read(this.#follow(reference), depth + 1);
    const branches = schema.anyOf ?? schema.oneOf ?? schema.allOf;
    if (Array.isArray(branches)) return union(branches.map((branch) => this.read(branch, depth + 1)));
    if (properties !== undefined) return new Set(['object']);
    return items === undefined ? undefined : new Set(['array']);
  }

  /** A pointer into the schema itself, such as #/$defs/city. */
  #follow(reference: string): unknown {
    if (!reference.startsWith('#/')) return undefined;
    const keys = reference.slice(2).split('/');
    return keys.reduce<unknown>((value, key) => (isJsonObject(value) ? value[key] : undefined), this.#root);
  }
}

/** A branch that says nothing allows anything. */
function union(sets: readonly ValueTypes[]): ValueTypes {
  const known = sets.filter((set) => set !== undefined);
  return known.length === sets.length ? new Set(known.flatMap((set) => [...set])) : undefined;
}

function typeOfValue(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
