/**
 * Where the parts of weights are encoded: in this thread, or by several threads that each have the checkpoint open. The bytes are the
 * same, and so is their order.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { EncoderReply, EncoderTask } from './encoder-messages.ts';
import type { ModelTensors } from './model-tensors.ts';
import { errorOf } from './thread-failure.ts';
import { type EncodedWeight, encodedBytes, encodedIn, WeightEncoder } from './weight-encoder.ts';
import type { WeightPart } from './weight-parts.ts';

/** More would wait for the one thread that takes digests and writes. */
const mostThreads = 4;
/** A package of fewer bytes is made before threads have started. */
const smallBytes = 128 << 20;
/** One that a thread works on, and one that waits for it. */
const partsPerThread = 2;

export interface EncodedPart extends WeightPart {
  readonly encoded: EncodedWeight;
}

export interface Encoding extends AsyncDisposable {
  /** Yields the parts in their order; what is encoded is valid until the next is asked for. Errors: those of WeightEncoder.encode. */
  encode(parts: Iterable<WeightPart>): AsyncGenerator<EncodedPart>;
}

/** How many threads encode, 0 meaning the one that writes: as many as are worth it for a package of so many bytes. */
export function encodingThreads(packageBytes: number): number {
  return packageBytes < smallBytes ? 0 : Math.min(availableParallelism(), mostThreads);
}

/** `model` as in SliceOptions. */
export function startEncoding(model: string, tensors: ModelTensors, threads: number): Encoding {
  return threads === 0 ? new OwnThread(tensors) : new EncoderThreads(model, threads);
}

/** Memory with room for the weight: what is free, or new. */
function memoryFor({ weight }: WeightPart, free: ArrayBuffer | undefined): ArrayBuffer {
  const bytes = encodedBytes(weight);
  return free && free.byteLength >= bytes ? free : new ArrayBuffer(bytes);
}

class OwnThread implements Encoding {
  readonly #encoder: WeightEncoder;

  constructor(tensors: ModelTensors) {
    this.#encoder = new WeightEncoder(tensors);
  }

  async *encode(parts: Iterable<WeightPart>): AsyncGenerator<EncodedPart> {
    let memory: ArrayBuffer | undefined;
    for (const part of parts) {
      memory = memoryFor(part, memory);
      await this.#encoder.encode(part.weight, memory);
      yield { ...part, encoded: encodedIn(memory, part.weight) };
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class EncoderThreads implements Encoding {
  readonly #threads: readonly EncoderThread[];
  readonly #free: ArrayBuffer[] = [];

  constructor(model: string, count: number) {
    this.#threads = Array.from({ length: count }, () => new EncoderThread(model));
  }

  async *encode(parts: Iterable<WeightPart>): AsyncGenerator<EncodedPart> {
    const waiting: { readonly part: WeightPart; readonly memory: Promise<ArrayBuffer> }[] = [];
    const iterator = parts[Symbol.iterator]();
    for (;;) {
      while (waiting.length < this.#threads.length * partsPerThread) {
        const { value: part, done } = iterator.next();
        if (done) break;
        waiting.push({ part, memory: this.#idlest().encode(part.weight, memoryFor(part, this.#free.pop())) });
      }
      const next = waiting.shift();
      if (!next) return;
      const memory = await next.memory;
      yield { ...next.part, encoded: encodedIn(memory, next.part.weight) };
      this.#free.push(memory);
    }
  }

  #idlest(): EncoderThread {
    return this.#threads.reduce((least, thread) => (thread.waiting < least.waiting ? thread : least));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }
}

/** A thread, and who waits for its replies, in the order of their tasks. */
class EncoderThread {
  readonly #worker: Worker;
  readonly #waiting: PromiseWithResolvers<ArrayBuffer>[] = [];

  constructor(model: string) {
    const workerData = model;
    this.#worker = new Worker(new URL('./encoder-thread.ts', import.meta.url), { name: 'encoder', workerData });
    this.#worker.on('message', (reply: EncoderReply) => this.#receive(reply));
    this.#worker.on('error', (cause) => this.#fail(TriremeError.from(cause)));
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  encode(weight: EncoderTask['weight'], memory: ArrayBuffer): Promise<ArrayBuffer> {
    const reply = Promise.withResolvers<ArrayBuffer>();
    reply.promise.catch(() => {}); // Told by whoever waits for it, or the work has ended.
    this.#waiting.push(reply);
    this.#worker.postMessage({ weight, memory } satisfies EncoderTask, [memory]);
    return reply.promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #receive(reply: EncoderReply): void {
    if (reply.kind === 'failed') return this.#fail(errorOf(reply));
    const next = this.#waiting.shift();
    assert(next, 'a reply has a task');
    next.resolve(reply.memory);
  }

  #fail(error: TriremeError): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
