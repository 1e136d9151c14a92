/** A config.json as it is, asked for one field at a time. */

type Json = Readonly<Record<string, unknown>>;

export class ConfigFields {
  readonly #json: Json;

  constructor(json: Json) {
    this.#json = json;
  }

  /** Neither absent nor null. */
  has(name: string): boolean {
    return (this.#json[name] ?? null) !== null;
  }

  /** The first of the names that has a value, else the fallback; without one the field is required. */
  number(names: string | readonly string[], fallback?: number): number {
    const value = this.#first(names) ?? fallback;
    if (typeof value !== 'number') throw new Error(`config.json has no number ${[names].flat().join(' or ')}`);
    return value;
  }

  flag(name: string, fallback: boolean): boolean {
    return Boolean(this.#json[name] ?? fallback);
  }

  text(name: string, fallback = ''): string {
    return String(this.#json[name] ?? fallback);
  }

  list(name: string): readonly unknown[] | undefined {
    const value = this.#json[name];
    return Array.isArray(value) ? value : undefined;
  }

  /** Of a field that is one number for all layers, or a list with one for each. */
  numberOfLayer(name: string, layer: number, fallback?: number): number {
    const value = this.list(name)?.[layer] ?? (this.list(name) ? undefined : this.number(name, fallback));
    if (typeof value !== 'number') throw new Error(`config.json has no number ${name} for layer ${layer}`);
    return value;
  }

  inner(name: string): ConfigFields | undefined {
    return this.has(name) ? new ConfigFields(this.#json[name] as Json) : undefined;
  }

  #first(names: string | readonly string[]): unknown {
    return [names]
      .flat()
      .map((name) => this.#json[name])
      .find((value) => (value ?? null) !== null);
  }
}
