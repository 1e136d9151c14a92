/**
 * One choice of a request. Its tokens are all it is: how much of them the cache holds may fall back to nothing at any time
 * (preemption) and is computed again, with the same result.
 */
import { assert } from '#platform/assert.ts';
import type { FinishReason } from './output.ts';
import { hasPenalties, Penalties } from './penalties.ts';
import type { EngineRequest, Pooling, RequestKey } from './request.ts';
import type { SamplingContext } from './sampler.ts';
import type { SamplingSettings } from './sampling-settings.ts';

/** What the choices of one request share. */
export class Request {
  readonly key: RequestKey;
  readonly settings: SamplingSettings;
  readonly adapter: number | undefined;
  readonly pooling: Pooling | undefined;
  readonly promptLength: number;
  readonly stopTokens: ReadonlySet<number>;
  /** Tokens of prompt and completion at which a choice ends. */
  readonly lengthLimit: number;
  /** Choices in flight, in order. */
  readonly sequences: Sequence[];
  /** A choice has had its first token: the prompt's work is done. */
  promptDone = false;

  /** `age` counts sequences in order of arrival: the first choice gets it, the others the numbers after it. */
  constructor(request: EngineRequest, age: number, endTokens: readonly number[], contextLimit: number) {
    const { settings, prompt } = request;
    this.key = request.key;
    this.settings = settings;
    this.adapter = request.adapter;
    this.pooling = request.pooling;
    this.promptLength = prompt.length;
    this.stopTokens = new Set([...(settings.ignoreEos ? [] : endTokens), ...settings.stopTokens]);
    this.lengthLimit = Math.min(contextLimit, prompt.length + (settings.maxTokens ?? contextLimit));
    this.sequences = Array.from({ length: request.n }, (_, choice) => choice)
      .filter((choice) => !request.finished?.includes(choice))
      .map((choice) => new Sequence(this, choice, age + choice, prompt, request.emitted[choice] ?? noTokens));
  }
}

const noTokens = new Int32Array(0);

export class Sequence implements SamplingContext {
  readonly request: Request;
  readonly choice: number;
  /** Order of arrival; the older sequence goes first. */
  readonly age: number;
  #tokens: Int32Array;
  #length: number;
  #slot: number | undefined;
  #cached = 0;
  #penalties: Penalties | undefined;
  /** Sum over the positions in the cache; of a request with pooling. */
  #pooled: Float64Array | undefined;

  constructor(request: Request, choice: number, age: number, prompt: Int32Array, emitted: Int32Array) {
    this.request = request;
    this.choice = choice;
    this.age = age;
    this.#length = prompt.length + emitted.length;
    this.#tokens = new Int32Array(this.#length + 1);
    this.#tokens.set(prompt);
    this.#tokens.set(emitted, prompt.length);
  }

  get settings(): SamplingSettings {
    return this.request.settings;
  }

  get stopTokens(): ReadonlySet<number> {
    return this.request.stopTokens;
  }

  /** Prompt and generated tokens. */
  get length(): number {
    return this.#length;
  }

  get generatedCount(): number {
    return this.#length - this.request.promptLength;
  }

  /** Where its keys and values are while it runs; undefined while it waits. */
  get slot(): number | undefined {
    return this.#slot;
  }

  /** Positions 0 .. cached-1 are in the cache. Invariant: 0 <= cached < length, and 0 while it waits. */
  get cached(): number {
    return this.#cached;
  }

  /** Tokens to be computed before the next one can be chosen; at least 1. */
  get pending(): number {
    return this.#length - this.#cached;
  }

  /** Positions that a sibling's cache can spare it: the prompt, but never the last token, whose logits are wanted. */
  get shareable(): number {
    return Math.min(this.request.promptLength, this.#length - 1);
  }

  /** Of the tokens so far; built when first asked for. */
  get penalties(): Penalties | undefined {
    if (!this.#penalties && hasPenalties(this.settings)) this.#penalties = this.#replayPenalties();
    return this.#penalties;
  }

  /** A view of tokens first .. first+count-1, valid until the next append(). */
  slice(first: number, count: number): Int32Array {
    return this.#tokens.subarray(first, first + count);
  }

  /** waiting -> running, with positions 0 .. copied-1 in the slot. */
  becomeRunning(slot: number, copied: number): void {
    assert(this.#slot === undefined && this.#cached === 0, `sequence ${this.age} runs already`);
    assert(copied < this.#length, `sequence ${this.age} would have nothing to compute`);
    this.#slot = slot;
    this.#cached = copied;
  }

  /** running -> waiting: what the cache held is forgotten. */
  becomeWaiting(): void {
    assert(this.#slot !== undefined, `sequence ${this.age} waits already`);
    this.#slot = undefined;
    this.#cached = 0;
    this.#pooled = undefined;
  }

  /** Positions first .. first+count-1 have been computed. */
  advance(first: number, count: number): void {
    assert(this.#slot !== undefined, `sequence ${this.age} does not run`);
    assert(first === this.#cached, `sequence ${this.age} computed position ${first}, ${this.#cached} is next`);
    assert(count > 0 && count <= this.pending, `sequence ${this.age} computed ${count} of ${this.pending}`);
    this.#cached += count;
  }

  /** Adds what a chunk brought. */
  pool(values: Float32Array): void {
    this.#pooled ??= new Float64Array(values.length);
    for (let i = 0; i < values.length; i++) this.#pooled[i] = this.#pooled[i]! + values[i]!;
  }

  /** Of the whole prompt. */
  get embedding(): Float32Array {
    assert(this.#pooled && this.pending === 0, `sequence ${this.age} has its prompt still to compute`);
    const count = this.request.pooling === 'mean' ? this.#length : 1;
    return Float32Array.from(this.#pooled, (sum) => sum / count);
  }

  /** A token was chosen. Everything before it is in the cache. */
  append(token: number): void {
    assert(this.pending === 0, `sequence ${this.age} has ${this.pending} tokens to compute before the next`);
    if (this.#length === this.#tokens.length) this.#enlarge();
    this.#tokens[this.#length++] = token;
    this.#penalties?.noteGenerated(token);
  }

  /** Why the sequence ends with its last token; undefined when it goes on. */
  finishReason(): FinishReason | undefined {
    const generated = this.generatedCount;
    if (generated > this.settings.minTokens && this.stopTokens.has(this.#tokens[this.#length - 1]!)) return 'stop';
    return this.#length >= this.request.lengthLimit ? 'length' : undefined;
  }

  #enlarge(): void {
    const larger = new Int32Array(Math.max(this.#length + 1, Math.min(2 * this.#length, this.request.lengthLimit)));
    larger.set(this.#tokens);
    this.#tokens = larger;
  }

  #replayPenalties(): Penalties {
    const penalties = new Penalties(this.settings);
    const { promptLength } = this.request;
    penalties.notePrompt(this.slice(0, promptLength));
    for (const token of this.slice(promptLength, this.generatedCount)) penalties.noteGenerated(token);
    return penalties;
  }
}
