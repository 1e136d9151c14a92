/**
 * What a rank needs of an inference runtime: sessions over small graphs, tensors that are views of the caller's memory,
 * and runs that block the calling thread. One Runtime a thread; nothing here is shared between threads but the memory
 * under the tensors.
 */

/** float32, int64, int32 or uint8, told by the class of the array. */
export type TensorData = Float32Array | BigInt64Array | Int32Array | Uint8Array;

/** A view: the runtime reads and writes `data` in place. Whoever made it releases it, after the last run that uses it. */
export interface Tensor {
  readonly data: TensorData;
  readonly dims: readonly number[];
  release(): void;
}

/** Inputs and outputs of runs, by name; reused from run to run and shared by sessions with the same names. */
export interface Io {
  input(index: number, tensor: Tensor): void;
  output(index: number, tensor: Tensor): void;
  release(): void;
}

export interface Session {
  /** Blocks until every output is written. Errors: RUNTIME_ERROR with the runtime's own message. */
  run(io: Io): void;
  release(): void;
}

export interface Runtime {
  /** `model` is an encoded ONNX model, not needed afterwards; its external data lie in `folder`. Errors: RUNTIME_ERROR. */
  openSession(name: string, model: Uint8Array, folder: string): Session;
  tensor(data: TensorData, dims: readonly number[]): Tensor;
  io(inputs: readonly string[], outputs: readonly string[]): Io;
  /** Releases what is still held. Sessions and tensors must not be used after it. */
  close(): void;
}
