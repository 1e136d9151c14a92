/**
 * Runtime over ONNX Runtime's C API. Owns sessions, values and options, and the memory that native code reads: names,
 * address arrays, dims. ONNX Runtime keeps bare addresses, so everything it was given stays referenced here until it is
 * released.
 */
import { assert } from '#platform/assert.ts';
import { elementTypes } from '../models/onnx-graph.ts';
import { type Address, addressOf, createEnvironment, loadOrtApi, type OrtApi } from './ort-api.ts';
import type { Io, Runtime, Session, Tensor, TensorData } from './runtime.ts';

/** V8 keeps small typed arrays inside its heap, where they move; a buffer of this size never is. */
const ownBufferBytes = 256;
const maxRank = 8;
const optimiseAll = 99;

export interface OrtOptions {
  /** Path of libonnxruntime; default: the one in the npm package. */
  readonly library?: string;
  /** Address of a RunSwitch, which ends the runs of this runtime from another thread. */
  readonly runSwitch?: Address;
}

/** Run without options. */
const noOptions: Address = 0n;

function ownBytes(length: number): ArrayBuffer {
  return new ArrayBuffer(Math.max(length, ownBufferBytes));
}

/** The same bytes in memory that does not move. */
function copyOf(model: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ownBytes(model.length), 0, model.length);
  bytes.set(model);
  return bytes;
}

function elementTypeOf(data: TensorData): number {
  if (data instanceof Float32Array) return elementTypes.f32;
  if (data instanceof BigInt64Array) return elementTypes.i64;
  if (data instanceof Int32Array) return elementTypes.i32;
  return elementTypes.u8;
}

class OrtTensor implements Tensor {
  readonly data: TensorData;
  readonly dims: readonly number[];
  readonly value: Address;
  readonly #release: () => void;

  constructor(data: TensorData, dims: readonly number[], value: Address, release: () => void) {
    this.data = data;
    this.dims = dims;
    this.value = value;
    this.#release = release;
  }

  release(): void {
    this.#release();
  }
}

class OrtIo implements Io {
  readonly inputCount: number;
  readonly outputCount: number;
  readonly inputNames: Address;
  readonly outputNames: Address;
  readonly inputValues: Address;
  readonly outputValues: Address;
  readonly #inputs: BigUint64Array;
  readonly #outputs: BigUint64Array;
  /** Referenced for native code: the tensors bound now, and the arrays whose addresses are above. */
  readonly #bound: (Tensor | undefined)[];
  readonly #kept: readonly ArrayBufferView[];

  constructor(inputNames: BigUint64Array, outputNames: BigUint64Array, kept: readonly ArrayBufferView[]) {
    this.inputCount = inputNames.length;
    this.outputCount = outputNames.length;
    this.#inputs = new BigUint64Array(ownBytes(8 * this.inputCount), 0, this.inputCount);
    this.#outputs = new BigUint64Array(ownBytes(8 * this.outputCount), 0, this.outputCount);
    this.#bound = new Array<Tensor | undefined>(this.inputCount + this.outputCount).fill(undefined);
    this.#kept = [inputNames, outputNames, ...kept];
    this.inputNames = addressOf(inputNames);
    this.outputNames = addressOf(outputNames);
    this.inputValues = addressOf(this.#inputs);
    this.outputValues = addressOf(this.#outputs);
  }

  input(index: number, tensor: Tensor): void {
    this.#inputs[index] = (tensor as OrtTensor).value;
    this.#bound[index] = tensor;
  }

  output(index: number, tensor: Tensor): void {
    this.#outputs[index] = (tensor as OrtTensor).value;
    this.#bound[this.inputCount + index] = tensor;
  }

  release(): void {
    this.#bound.fill(undefined);
    assert(this.#kept.length > 0, 'an Io keeps its names');
  }
}

class OrtSession implements Session {
  readonly #name: string;
  readonly #api: OrtApi;
  readonly #session: Address;
  readonly #options: Address;
  readonly #release: () => void;

  constructor(name: string, api: OrtApi, session: Address, options: Address, release: () => void) {
    this.#name = name;
    this.#api = api;
    this.#session = session;
    this.#options = options;
    this.#release = release;
  }

  run(io: OrtIo): void {
    const status = this.#api.run(
      this.#session,
      this.#options,
      io.inputNames,
      io.inputValues,
      io.inputCount,
      io.outputNames,
      io.outputCount,
      io.outputValues,
    );
    if (status) this.#api.fail(status, `run ${this.#name}`);
  }

  release(): void {
    this.#release();
  }
}

export class OrtRuntime implements Runtime {
  readonly version: string;
  readonly #api: OrtApi;
  readonly #runOptions: Address;
  readonly #environment: Address;
  readonly #memoryInfo: Address;
  readonly #dims = new BigInt64Array(ownBytes(8 * maxRank), 0, maxRank);
  readonly #dimsAddress = addressOf(this.#dims);
  readonly #names = new Map<string, Uint8Array>();
  readonly #live = new Set<() => void>();

  constructor(options: OrtOptions = {}) {
    this.#api = loadOrtApi(options.library);
    this.#runOptions = options.runSwitch ?? noOptions;
    this.version = this.#api.version;
    this.#environment = createEnvironment(this.#api);
    this.#memoryInfo = this.#api.create('createCpuMemoryInfo', 0, 0);
  }

  openSession(name: string, model: Uint8Array, folder: string): Session {
    const bytes = model.buffer.byteLength >= ownBufferBytes ? model : copyOf(model);
    const options = this.#api.create('createSessionOptions');
    try {
      this.#configure(options, folder);
      const session = this.#api.create(
        'createSessionFromArray',
        this.#environment,
        addressOf(bytes),
        bytes.length,
        options,
      );
      return new OrtSession(name, this.#api, session, this.#runOptions, this.#owned('releaseSession', session));
    } finally {
      this.#api.release('releaseSessionOptions', options);
    }
  }

  tensor(data: TensorData, dims: readonly number[]): Tensor {
    assert(data.buffer.byteLength >= ownBufferBytes, 'tensor memory must not lie in the V8 heap');
    assert(dims.length <= maxRank, `at most ${maxRank} dimensions`);
    let count = 1;
    for (let i = 0; i < dims.length; i++) {
      const size = dims[i]!;
      this.#dims[i] = BigInt(size);
      count *= size;
    }
    assert(count === data.length, `dims [${dims}] do not hold ${data.length} elements`);
    const value = this.#api.create(
      'createTensorWithData',
      this.#memoryInfo,
      addressOf(data),
      data.byteLength,
      this.#dimsAddress,
      dims.length,
      elementTypeOf(data),
    );
    return new OrtTensor(data, dims, value, this.#owned('releaseValue', value));
  }

  io(inputs: readonly string[], outputs: readonly string[]): Io {
    const kept = [...inputs, ...outputs].map((name) => this.#nameBytes(name));
    return new OrtIo(this.#nameList(inputs), this.#nameList(outputs), kept);
  }

  close(): void {
    for (const release of [...this.#live]) release();
    this.#api.release('releaseMemoryInfo', this.#memoryInfo);
    this.#api.release('releaseEnv', this.#environment);
  }

  #configure(options: Address, folder: string): void {
    this.#api.check('setIntraOpThreads', options, 1);
    this.#api.check('setGraphOptimizationLevel', options, optimiseAll);
    this.#api.check('disableMemPattern', options);
    this.#api.check('disableCpuMemArena', options);
    this.#api.check('addSessionConfigEntry', options, 'session.model_external_initializers_file_folder_path', folder);
  }

  /** Registers a native object; the result releases it, once. */
  #owned(releaser: 'releaseSession' | 'releaseValue', value: Address): () => void {
    const release = () => {
      if (this.#live.delete(release)) this.#api.release(releaser, value);
    };
    this.#live.add(release);
    return release;
  }

  #nameBytes(name: string): Uint8Array {
    const known = this.#names.get(name);
    if (known) return known;
    const text = Buffer.from(`${name}\0`);
    const bytes = new Uint8Array(ownBytes(text.length));
    bytes.set(text);
    this.#names.set(name, bytes);
    return bytes;
  }

  #nameList(names: readonly string[]): BigUint64Array {
    const list = new BigUint64Array(ownBytes(8 * names.length), 0, names.length);
    for (const [i, name] of names.entries()) list[i] = addressOf(this.#nameBytes(name));
    return list;
  }
}
