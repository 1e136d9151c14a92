/** What a GGUF file says of its model, for the readers of architectures: keys of its own name space, and which tensors there are. */
import type { TriremeError } from '#platform/errors.ts';
import type { Metadata } from '../metadata.ts';

type Shape = readonly number[];

export class DescribedModel {
  readonly architecture: string;
  readonly #metadata: Metadata;
  readonly #shapes: ReadonlyMap<string, Shape>;

  constructor(architecture: string, metadata: Metadata, shapes: ReadonlyMap<string, Shape>) {
    this.architecture = architecture;
    this.#metadata = metadata;
    this.#shapes = shapes;
  }

  /** Without those at the end that predict further tokens. Errors: INVALID_CHECKPOINT when there are more than tensors. */
  get layers(): number {
    const layers = this.count('block_count') - this.count('nextn_predict_layers', 0);
    if (layers < 1 || layers > this.#shapes.size)
      throw this.unsupported('block_count', '1 to as many as there are tensors');
    return layers;
  }

  hasTensor(name: string): boolean {
    return this.#shapes.has(name);
  }

  /** Numbers of the layers that have this tensor, blk.N.NAME. */
  layersWith(name: string): readonly number[] {
    return Array.from({ length: this.layers }, (_, layer) => layer).filter((layer) =>
      this.hasTensor(`blk.${layer}.${name}`),
    );
  }

  /** Rows of the embedding table. Errors: INVALID_CHECKPOINT when a key says otherwise. */
  vocabularySize(): number {
    const rows = this.#shapes.get('token_embd.weight')?.[0];
    const said = this.optionalCount('vocab_size');
    if (said !== undefined && rows !== undefined && said !== rows) {
      throw this.#metadata.odd(this.#key('vocab_size'), `${rows}, the rows of token_embd.weight`);
    }
    const size = rows ?? said;
    if (size === undefined) throw this.#metadata.missing(this.#key('vocab_size'));
    return size;
  }

  has(name: string): boolean {
    return this.#metadata.has(this.#key(name));
  }

  /** A whole number, or a list of the same one for every layer. Errors: INVALID_CHECKPOINT when it is missing or odd. */
  count(name: string, fallback?: number): number {
    const value = this.optionalCount(name) ?? fallback;
    if (value === undefined) throw this.#metadata.missing(this.#key(name));
    return value;
  }

  optionalCount(name: string): number | undefined {
    return this.#metadata.commonCount(this.#key(name));
  }

  number(name: string, fallback?: number): number {
    const value = this.#metadata.number(this.#key(name)) ?? fallback;
    if (value === undefined) throw this.#metadata.missing(this.#key(name));
    return value;
  }

  optionalNumber(name: string): number | undefined {
    return this.#metadata.number(this.#key(name));
  }

  flag(name: string, fallback: boolean): boolean {
    return this.#metadata.flag(this.#key(name)) ?? fallback;
  }

  text(name: string, fallback: string): string {
    return this.#metadata.text(this.#key(name)) ?? fallback;
  }

  list<T>(name: string, what: string, accepts: (element: unknown) => element is T): readonly T[] | undefined {
    return this.#metadata.list(this.#key(name), what, accepts);
  }

  /** True when the key holds a list. */
  isList(name: string): boolean {
    return this.#metadata.isList(this.#key(name));
  }

  /** For a key that may only say what is so anyway. Errors: INVALID_CHECKPOINT when it says something else. */
  refuseUnless(name: string, allowed: readonly (number | boolean)[]): void {
    const value = this.#metadata.scalar(this.#key(name));
    if (value === undefined || allowed.some((one) => one === value)) return;
    throw this.unsupported(name, allowed.join(', '));
  }

  unsupported(name: string, supported: string): TriremeError {
    return this.#metadata.unsupported(this.#key(name), supported);
  }

  ignore(...names: readonly string[]): void {
    this.#metadata.ignore(names.map((name) => this.#key(name)));
  }

  /** Errors: INVALID_CHECKPOINT naming a key of the architecture that nobody has asked for. */
  refuseUnknown(): void {
    this.#metadata.refuseUnknown(`${this.architecture}.`);
  }

  #key(name: string): string {
    return `${this.architecture}.${name}`;
  }
}
