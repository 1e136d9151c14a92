/**
 * A model that is easy to reason about: the logits after a position are a hash of every token up to it, so a token that is
 * lost, doubled or in the wrong place changes everything behind it. It keeps a cache per slot as a rank would, trusts no
 * plan, and throws when one breaks the contract of workers/engine/step.ts.
 */
import type { ChunkLogits, KvCopy, ModelRunner, SequenceChunk, StepPlan } from '../../workers/engine/step.ts';

const blockPositions = 16;

export interface NaiveModelOptions {
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly blocks: number;
  readonly slots: number;
  readonly stepTokens: number;
  /** The forward pass with this number throws. */
  readonly failAtStep?: number;
  /** Sequences that contain this token get NaN for logits. */
  readonly poison?: number;
  /** False: as a model that keeps a state, it throws when a sequence is to start from part of another's. */
  readonly canCopy?: boolean;
}

export class NaiveModel implements ModelRunner {
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly canCopy: boolean;
  /** Tokens that went through the model. */
  computedTokens = 0;
  readonly plans: StepPlan[] = [];
  readonly #options: NaiveModelOptions;
  /** The tokens whose keys and values a slot holds. */
  readonly #caches = new Map<number, number[]>();
  #lastStep = 0;

  constructor(options: NaiveModelOptions) {
    this.#options = options;
    this.vocabularySize = options.vocabularySize;
    this.contextLength = options.contextLength;
    this.canCopy = options.canCopy ?? true;
  }

  get usedSlots(): readonly number[] {
    return [...this.#caches.keys()].sort((a, b) => a - b);
  }

  run(plan: StepPlan): readonly ChunkLogits[] {
    expectThat(plan.step === this.#lastStep + 1, `step ${plan.step} follows ${this.#lastStep}`);
    this.#lastStep = plan.step;
    if (plan.step === this.#options.failAtStep) throw new Error('the naive model fails as told');
    this.plans.push({ ...plan, chunks: plan.chunks.map((chunk) => ({ ...chunk, tokens: chunk.tokens.slice() })) });
    for (const slot of plan.release) {
      expectThat(this.#caches.delete(slot), `slot ${slot} is released and holds nothing`);
    }
    for (const copy of plan.copies) this.#copy(copy);
    const slots = plan.chunks.map(({ slot }) => slot);
    expectThat(new Set(slots).size === slots.length, `slots ${slots} have two chunks`);
    const tokens = plan.chunks.reduce((sum, chunk) => sum + chunk.tokens.length, 0);
    expectThat(tokens > 0 && tokens <= this.#options.stepTokens, `${tokens} tokens in one step`);
    this.computedTokens += tokens;
    const logits = plan.chunks.map((chunk) => this.#compute(chunk));
    this.#checkCapacity();
    return logits;
  }

  #copy({ from, to, positions }: KvCopy): void {
    expectThat(this.canCopy, 'this model cannot copy');
    const source = this.#caches.get(from);
    expectThat(source !== undefined && source.length >= positions && positions > 0, `slot ${from} lacks ${positions}`);
    expectThat(!this.#caches.has(to), `slot ${to} is not empty`);
    this.#caches.set(to, source!.slice(0, positions));
  }

  #compute({ slot, firstPosition, tokens, logits }: SequenceChunk): ChunkLogits {
    expectThat(slot >= 0 && slot < this.#options.slots, `slot ${slot} does not exist`);
    const cache = this.#caches.get(slot) ?? [];
    this.#caches.set(slot, cache);
    expectThat(cache.length === firstPosition, `slot ${slot} holds ${cache.length} positions, not ${firstPosition}`);
    expectThat(tokens.length > 0, `slot ${slot} has an empty chunk`);
    const rows: Float32Array[] = [];
    for (const token of tokens) {
      expectThat(token >= 0 && token < this.vocabularySize, `token ${token} does not exist`);
      cache.push(token);
      if (logits === 'all' || logits === 'hidden-sum') rows.push(this.#row(cache));
    }
    expectThat(cache.length <= this.contextLength, `slot ${slot} holds ${cache.length} positions`);
    if (logits === 'none') return { kind: 'none' };
    if (logits === 'all') return { kind: 'rows', rows };
    // Its hidden states are its logits.
    if (logits === 'hidden-sum') return { kind: 'hidden', values: sum(rows) };
    if (logits === 'hidden-last') return { kind: 'hidden', values: this.#row(cache) };
    const last = this.#row(cache);
    if (logits === 'last') return { kind: 'rows', rows: [last] };
    const token = last.indexOf(Math.max(...last));
    return { kind: 'best', token: Math.max(0, token), logit: token < 0 ? Number.NaN : last[token]! };
  }

  #row(cache: readonly number[]): Float32Array {
    if (cache.includes(this.#options.poison ?? -1)) return new Float32Array(this.vocabularySize).fill(Number.NaN);
    return naiveLogits(cache, this.vocabularySize);
  }

  #checkCapacity(): void {
    let blocks = 0;
    for (const cache of this.#caches.values()) blocks += Math.ceil(cache.length / blockPositions);
    expectThat(blocks <= this.#options.blocks, `${blocks} blocks are used, there are ${this.#options.blocks}`);
  }
}

/** Logits after a history: multiples of 1/8 between -8 and 8, so that ties are common. */
export function naiveLogits(history: readonly number[], vocabularySize: number): Float32Array {
  let state = 0x811c9dc5;
  for (const token of history) state = scramble(state ^ (token + 1));
  const logits = new Float32Array(vocabularySize);
  for (let token = 0; token < vocabularySize; token++) logits[token] = ((scramble(state + token) >>> 8) % 129) / 8 - 8;
  return logits;
}

function sum(rows: readonly Float32Array[]): Float32Array {
  return rows.reduce((total, row) => total.map((value, i) => value + row[i]!));
}

function scramble(value: number): number {
  const mixed = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  const again = Math.imul(mixed ^ (mixed >>> 15), 0x846ca68b);
  return (again ^ (again >>> 16)) >>> 0;
}

function expectThat(condition: boolean, message: string): void {
  if (!condition) throw new Error(`the plan breaks the contract: ${message}`);
}
