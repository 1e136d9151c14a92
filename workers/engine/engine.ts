/**
 * The engine: sequences join and leave at every step. It decides from its input alone: same calls, same plans, same tokens.
 * It reads no clock, draws no randomness of its own and knows nothing of text, networks or addresses of memory.
 */
import { assert } from '#platform/assert.ts';
import { type Batch, type Chunk, reachesEnd, toStepPlan } from './batch.ts';
import { BlockPool } from './block-pool.ts';
import { checkEngineSettings, contextLimitOf, type EngineSettings } from './engine-settings.ts';
import { LineUp } from './line-up.ts';
import type { EngineLoad, SequenceOutput, StepOutput } from './output.ts';
import { type Refusal, refuse } from './refusal.ts';
import { type EngineRequest, type RequestKey, validateRequest } from './request.ts';
import { type Sampled, Sampler } from './sampler.ts';
import { Scheduler } from './scheduler.ts';
import { Request, type Sequence } from './sequence.ts';
import type { ChunkLogits, ModelRunner } from './step.ts';

export interface EngineOptions {
  readonly runner: ModelRunner;
  readonly settings: EngineSettings;
  /** The model's end tokens; a request may ignore them. */
  readonly endTokens: readonly number[];
}

export type SubmitOutcome = { readonly kind: 'accepted' } | Refusal;

export interface SequenceName {
  readonly key: RequestKey;
  readonly choice: number;
}

/** A sequence that had its last token in an earlier attempt: only its end is still to be told. */
interface EndedBefore {
  readonly sequence: Sequence;
  readonly output: SequenceOutput;
}

export class Engine {
  /** Tokens of prompt and completion together that a sequence may have here. */
  readonly contextLimit: number;

  readonly #runner: ModelRunner;
  readonly #settings: EngineSettings;
  readonly #endTokens: readonly number[];
  readonly #pool: BlockPool;
  readonly #running = new LineUp();
  readonly #waiting = new LineUp();
  readonly #scheduler: Scheduler;
  readonly #sampler: Sampler;
  /** In order of arrival; each has at least one sequence in flight. */
  readonly #requests = new Map<RequestKey, Request>();
  #endedBefore: EndedBefore[] = [];
  #runnerFailed = false;
  #nextAge = 0;
  #step = 0;
  #generatedTokens = 0;
  #promptTokens = 0;
  #preemptions = 0;

  /** Errors: INVALID_CONFIG for settings that contradict each other or the model. */
  constructor({ runner, settings, endTokens }: EngineOptions) {
    checkEngineSettings(settings, runner, endTokens);
    this.contextLimit = contextLimitOf(settings, runner);
    this.#runner = runner;
    this.#settings = settings;
    this.#endTokens = endTokens;
    this.#pool = new BlockPool(settings.kvBlocks, settings.maxSequences);
    this.#scheduler = new Scheduler(this.#pool, this.#running, this.#waiting, {
      stepTokens: settings.stepTokens,
      canCopy: runner.canCopy,
    });
    this.#sampler = new Sampler(runner.vocabularySize);
  }

  /**
   * Takes a request or says why not: NO_ROOM when too many sequences are in flight (another group may have room),
   * UNAVAILABLE after the runner failed, PROMPT_TOO_LONG or INVALID_ARGUMENT when it could never run here.
   */
  submit(request: EngineRequest): SubmitOutcome {
    const refusal = this.#refusalOf(request);
    if (refusal) return refusal;
    const accepted = new Request(request, this.#nextAge, this.#endTokens, this.contextLimit);
    this.#nextAge += request.n;
    this.#requests.set(request.key, accepted);
    for (const sequence of accepted.sequences) {
      const finish = sequence.generatedCount > 0 ? sequence.finishReason() : undefined;
      if (finish) this.#endedBefore.push({ sequence, output: { ...outputOf(sequence), finish } });
      else this.#waiting.add(sequence);
    }
    return { kind: 'accepted' };
  }

  /**
   * Forgets choices of a request, all by default, without a further output. Their blocks are free at once. Unknown keys and
   * choices are no error: they may have ended a moment ago.
   */
  cancel(key: RequestKey, choices?: readonly number[]): void {
    for (const sequence of [...(this.#requests.get(key)?.sequences ?? [])]) {
      if (!choices || choices.includes(sequence.choice)) this.#end(sequence);
    }
    this.#recountWhenIdle();
  }

  /** Nothing is in flight; a step would do nothing. */
  get idle(): boolean {
    return this.#requests.size === 0;
  }

  /**
   * One step: schedule, run, commit. Errors: what the runner throws. The step is undone then, the runner is not called
   * again, and it is for the caller to end what abortAll() names.
   */
  step(): StepOutput {
    assert(!this.#runnerFailed, 'the runner failed in an earlier step');
    const batch = this.#schedule();
    const logits = this.#run(batch);
    return this.#commit(batch, logits);
  }

  status(): EngineLoad {
    return {
      step: this.#step,
      running: this.#running.length,
      waiting: this.#waiting.length,
      freeSequences: this.#pool.freeSlots,
      freeBlocks: this.#pool.freeBlocks,
      totalBlocks: this.#pool.totalBlocks,
      generatedTokens: this.#generatedTokens,
      promptTokens: this.#promptTokens,
      preemptions: this.#preemptions,
    };
  }

  /** Drops everything in flight and names it, in order of arrival. */
  abortAll(): readonly SequenceName[] {
    const names = [...this.#requests.values()].flatMap(({ key, sequences }) =>
      sequences.map(({ choice }) => ({ key, choice })),
    );
    for (const key of [...this.#requests.keys()]) this.cancel(key);
    return names;
  }

  #refusalOf(request: EngineRequest): Refusal | undefined {
    if (this.#runnerFailed) return refuse('UNAVAILABLE', 'the model runner has failed; the group must be formed again');
    if (this.#requests.has(request.key)) {
      return refuse('INVALID_ARGUMENT', `request ${request.key} is in flight already`);
    }
    const most = this.#settings.maxSequences + this.#settings.maxWaiting;
    const limits = {
      vocabularySize: this.#runner.vocabularySize,
      contextLimit: this.contextLimit,
      maxSequences: most,
    };
    const refusal = validateRequest(request, limits);
    if (refusal) return refusal;
    const inFlight = this.#running.length + this.#waiting.length + this.#endedBefore.length;
    if (inFlight + request.n <= most) return undefined;
    return refuse(
      'NO_ROOM',
      `${inFlight} of ${most} sequences are in flight, ${request.n} more do not fit; retry later`,
    );
  }

  #schedule(): Batch {
    this.#pool.begin();
    const batch = this.#scheduler.plan();
    const isBusy = this.#running.length > 0 || this.#waiting.length > 0;
    assert(batch.chunks.length > 0 || !isBusy, 'a step in which nothing moves');
    return batch;
  }

  #run(batch: Batch): readonly ChunkLogits[] {
    if (batch.chunks.length === 0) return [];
    try {
      const logits = this.#runner.run(toStepPlan(this.#step + 1, this.#pool.freed, batch));
      assert(logits.length === batch.chunks.length, `${logits.length} results for ${batch.chunks.length} chunks`);
      return logits;
    } catch (error) {
      this.#pool.rollback();
      this.#runnerFailed = true;
      throw error;
    }
  }

  #commit(batch: Batch, logits: readonly ChunkLogits[]): StepOutput {
    const entries = this.#endedBefore.map(({ output }) => output);
    for (const { sequence } of [...this.#endedBefore]) this.#end(sequence);
    if (batch.chunks.length === 0) {
      this.#pool.rollback();
      this.#recountWhenIdle();
      return { step: this.#step, entries };
    }
    this.#step++;
    this.#pool.commit();
    for (const sequence of batch.preempted) this.#preempt(sequence);
    for (const { sequence, slot, shared } of batch.admitted) {
      sequence.becomeRunning(slot, shared);
      this.#waiting.remove(sequence);
      this.#running.add(sequence);
    }
    batch.chunks.forEach((chunk, index) => {
      const output = this.#commitChunk(chunk, logits[index]!);
      if (output) entries.push(output);
    });
    this.#recountWhenIdle();
    return { step: this.#step, entries };
  }

  #commitChunk(chunk: Chunk, logits: ChunkLogits): SequenceOutput | undefined {
    const { sequence, first, count } = chunk;
    const chooses = reachesEnd(chunk);
    sequence.advance(first, count);
    assert(sequence.cached <= this.#pool.roomOf(chunk.slot), `slot ${chunk.slot} holds more than its blocks`);
    if (sequence.request.pooling) return this.#commitPooled(sequence, logits, chooses);
    if (!chooses) return undefined;
    const sampled = this.#sample(sequence, logits);
    const before = outputOf(sequence);
    if (sampled.kind === 'failed') {
      this.#end(sequence);
      return { ...before, error: { code: 'RUNTIME_ERROR', message: sampled.message } };
    }
    this.#countToken(sequence.request);
    sequence.append(sampled.token);
    const finish = sequence.finishReason();
    if (finish) this.#end(sequence);
    return { ...before, tokens: [sampled.token], logprobs: sampled.logprobs ? [sampled.logprobs] : [], finish };
  }

  #commitPooled(sequence: Sequence, result: ChunkLogits, isWhole: boolean): SequenceOutput | undefined {
    if (result.kind === 'hidden') sequence.pool(result.values);
    if (!isWhole) return undefined;
    this.#countPrompt(sequence.request);
    const { embedding } = sequence;
    this.#end(sequence);
    const output = outputOf(sequence);
    if (embedding.every(Number.isFinite)) return { ...output, embedding, finish: 'stop' };
    return { ...output, error: { code: 'RUNTIME_ERROR', message: 'the embedding holds values that are no numbers' } };
  }

  #sample(sequence: Sequence, logits: ChunkLogits): Sampled {
    if (logits.kind === 'best') return this.#sampler.accept(logits.token, logits.logit);
    const row = logits.kind === 'rows' ? logits.rows.at(-1) : undefined;
    assert(row, 'the runner left out logits that were asked for');
    return this.#sampler.sample(row, sequence);
  }

  #countToken(request: Request): void {
    this.#generatedTokens++;
    this.#countPrompt(request);
  }

  #countPrompt(request: Request): void {
    if (request.promptDone) return;
    request.promptDone = true;
    this.#promptTokens += request.promptLength;
  }

  #preempt(sequence: Sequence): void {
    sequence.becomeWaiting();
    this.#running.remove(sequence);
    this.#waiting.add(sequence);
    this.#preemptions++;
  }

  /** The one way out of the engine: whatever the sequence holds is given back. */
  #end(sequence: Sequence): void {
    const { request, slot } = sequence;
    const isEndedBefore = this.#endedBefore.some((ended) => ended.sequence === sequence);
    if (isEndedBefore) this.#endedBefore = this.#endedBefore.filter((ended) => ended.sequence !== sequence);
    else if (slot === undefined) this.#waiting.remove(sequence);
    else {
      this.#running.remove(sequence);
      this.#pool.free(slot);
    }
    request.sequences.splice(request.sequences.indexOf(sequence), 1);
    if (request.sequences.length === 0) this.#requests.delete(request.key);
  }

  /** Invariant: when nothing is in flight, nothing is held. */
  #recountWhenIdle(): void {
    if (!this.idle) return;
    this.#pool.check();
    const { running, waiting, freeSequences, freeBlocks, totalBlocks } = this.status();
    const isEmpty = running === 0 && waiting === 0 && this.#endedBefore.length === 0;
    const isFree = freeBlocks === totalBlocks && freeSequences === this.#settings.maxSequences;
    assert(isEmpty && isFree, `idle with ${running} running, ${waiting} waiting, ${freeBlocks} blocks free`);
  }
}

/** An output without a token yet, at the position of the next one. */
function outputOf({ request, choice, generatedCount }: Sequence): SequenceOutput {
  return {
    key: request.key,
    choice,
    firstPosition: generatedCount,
    tokens: [],
    logprobs: [],
    finish: undefined,
    error: undefined,
  };
}
