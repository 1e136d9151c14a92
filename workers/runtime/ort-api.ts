/**
 * The C API of ONNX Runtime by FFI: with process-memory.ts the only importer of koffi and the only code that knows addresses. Finds the
 * functions in the append-only OrtApi table (onnxruntime_c_api.h, API version 23 and later) and turns every status into
 * a TriremeError. Decides nothing: sessions and tensors with owners are in ort-runtime.ts.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import koffi from 'koffi';
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';

/** Table version that every build from 1.23 on offers; we use nothing newer. */
const apiVersion = 23;

/** Position in OrtApi, return type, arguments. Functions returning void* return a status. */
const table = {
  getErrorMessage: [2, 'const char*', ['void*']],
  createEnv: [3, 'void*', ['int', 'const char*', 'void*']],
  createSessionFromArray: [8, 'void*', ['void*', 'void*', 'size_t', 'void*', 'void*']],
  run: [9, 'void*', ['void*', 'void*', 'void*', 'void*', 'size_t', 'void*', 'size_t', 'void*']],
  createSessionOptions: [10, 'void*', ['void*']],
  disableMemPattern: [17, 'void*', ['void*']],
  disableCpuMemArena: [19, 'void*', ['void*']],
  setGraphOptimizationLevel: [23, 'void*', ['void*', 'int']],
  setIntraOpThreads: [24, 'void*', ['void*', 'int']],
  createRunOptions: [39, 'void*', ['void*']],
  setTerminate: [46, 'void*', ['void*']],
  unsetTerminate: [47, 'void*', ['void*']],
  createTensorWithData: [49, 'void*', ['void*', 'void*', 'size_t', 'void*', 'size_t', 'int', 'void*']],
  createCpuMemoryInfo: [69, 'void*', ['int', 'int', 'void*']],
  releaseEnv: [92, 'void', ['void*']],
  releaseStatus: [93, 'void', ['void*']],
  releaseMemoryInfo: [94, 'void', ['void*']],
  releaseSession: [95, 'void', ['void*']],
  releaseValue: [96, 'void', ['void*']],
  releaseRunOptions: [97, 'void', ['void*']],
  releaseSessionOptions: [100, 'void', ['void*']],
  addSessionConfigEntry: [130, 'void*', ['void*', 'const char*', 'const char*']],
  createAndRegisterAllocator: [144, 'void*', ['void*', 'void*', 'void*']],
} as const satisfies Record<string, readonly [number, string, readonly string[]]>;

type FunctionName = keyof typeof table;

/** An address in this process. 0n is null. */
export type Address = bigint;

// koffi types its callables as `any` in and out; this is what they are.
type NativeFunction = (...values: (Address | number | string | null)[]) => Address | string | null;

export interface OrtApi {
  /** Calls a function that returns a status; throws RUNTIME_ERROR with ONNX Runtime's own message unless it is null. */
  check(name: FunctionName, ...values: (Address | number | string | null)[]): void;
  /** As check, for a function whose last parameter receives a pointer; returns that pointer. */
  create(name: FunctionName, ...values: (Address | number | string | null)[]): Address;
  /** Calls a function without a result. */
  release(name: FunctionName, value: Address): void;
  /** The address of Run, called directly on the hot path: returns null or a status to hand to fail(). */
  readonly run: (
    session: Address,
    options: Address,
    inputNames: Address,
    inputs: Address,
    inputCount: number,
    outputNames: Address,
    outputCount: number,
    outputs: Address,
  ) => Address | null;
  /** Releases a status and throws what it says. */
  fail(status: Address, doing: string): never;
  readonly version: string;
  readonly library: ReturnType<typeof koffi.load>;
}

/** Where the npm package keeps the library for this platform. */
export function bundledLibraryPath(): string {
  const root = path.dirname(createRequire(import.meta.url).resolve('onnxruntime-node/package.json'));
  return path.join(root, 'bin', 'napi-v6', process.platform, process.arch, 'libonnxruntime.so.1');
}

/** The bytes' address. Only for arrays over a buffer of their own: V8 moves small ones that live in its heap. */
export function addressOf(array: ArrayBufferView): Address {
  return koffi.address(array);
}

/** koffi runs native code on a stack of its own; ONNX Runtime overruns the 2 MiB default. */
const nativeStackBytes = 16 << 20;
// Once a thread, before it loads anything.
if (koffi.config().sync_stack_size !== nativeStackBytes) koffi.config({ sync_stack_size: nativeStackBytes });

interface LoadedTable {
  /** Keep it: koffi unloads a library whose handle is collected, and every function with it. */
  readonly library: ReturnType<typeof koffi.load>;
  readonly version: string;
  readonly pointers: readonly Address[];
}

function decodeTable(libraryPath: string): LoadedTable {
  let library: ReturnType<typeof koffi.load>;
  try {
    library = koffi.load(libraryPath);
  } catch (cause) {
    throw new TriremeError('RUNTIME_ERROR', `cannot load ONNX Runtime from ${libraryPath}`, {
      remedy: 'Install the package onnxruntime-node for this platform, or name a library in `runtime.library`',
      cause,
    });
  }
  const base = library.func('OrtGetApiBase', 'void*', [])() as Address;
  const [getApiPointer, getVersionPointer] = koffi.decode(base, koffi.array('void*', 2)) as Address[];
  assert(getApiPointer && getVersionPointer, 'OrtApiBase holds two functions');
  const getApi = koffi.decode(getApiPointer, koffi.proto('void*', ['uint32_t'])) as NativeFunction;
  const getVersion = koffi.decode(getVersionPointer, koffi.proto('const char*', [])) as NativeFunction;
  const version = String(getVersion());
  const api = getApi(apiVersion);
  if (typeof api !== 'bigint' || api === 0n) {
    throw new TriremeError('RUNTIME_ERROR', `ONNX Runtime ${version} at ${libraryPath} is too old`, {
      remedy: 'Use 1.23 or later',
    });
  }
  const length = 1 + Math.max(...Object.values(table).map(([index]) => index));
  return { library, version, pointers: koffi.decode(api, koffi.array('void*', length)) as Address[] };
}

/** Of this thread, by path: koffi keeps what it has decoded for as long as the thread lives. */
const loaded = new Map<string, OrtApi>();

/** Loads the library once per thread. ONNX Runtime itself is one per process, whatever the number of threads. */
export function loadOrtApi(libraryPath: string = bundledLibraryPath()): OrtApi {
  const known = loaded.get(libraryPath);
  if (known) return known;
  const api = createApi(libraryPath);
  loaded.set(libraryPath, api);
  return api;
}

function createApi(libraryPath: string): OrtApi {
  const { library, version, pointers } = decodeTable(libraryPath);
  const prototypes = new Map<string, ReturnType<typeof koffi.proto>>();
  const prototypeOf = (result: string, parameters: readonly string[]): ReturnType<typeof koffi.proto> => {
    const text = `${result}(${parameters})`;
    const prototype = prototypes.get(text) ?? koffi.proto(result, [...parameters]);
    prototypes.set(text, prototype);
    return prototype;
  };
  const functions = Object.fromEntries(
    Object.entries(table).map(([name, [index, result, parameters]]) => {
      const pointer = pointers[index];
      assert(pointer, `OrtApi has no function ${name}`);
      return [name, koffi.decode(pointer, prototypeOf(result, parameters)) as NativeFunction];
    }),
  ) as Record<FunctionName, NativeFunction>;

  const fail = (status: Address, doing: string): never => {
    const message = String(functions.getErrorMessage(status));
    functions.releaseStatus(status);
    throw new TriremeError('RUNTIME_ERROR', `ONNX Runtime could not ${doing}: ${message}`);
  };
  const check = (name: FunctionName, ...values: (Address | number | string | null)[]): void => {
    const status = functions[name](...values);
    if (status !== null && status !== 0n) fail(status as Address, name);
  };
  const slot = new BigUint64Array(new ArrayBuffer(256), 0, 1);
  const slotAddress = addressOf(slot);
  const create = (name: FunctionName, ...values: (Address | number | string | null)[]): Address => {
    slot[0] = 0n;
    check(name, ...values, slotAddress);
    const pointer = slot[0];
    assert(pointer, `${name} returned null without a status`);
    return pointer;
  };
  const release = (name: FunctionName, value: Address): void => void functions[name](value);
  return { check, create, release, run: functions.run as OrtApi['run'], fail, version, library };
}

const errorSeverity = 3;

/** A reference to the process' environment; released by releaseEnv. */
export function createEnvironment(api: OrtApi): Address {
  return api.create('createEnv', errorSeverity, 'trireme');
}
