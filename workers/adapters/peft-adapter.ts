/**
 * A LoRA adapter in a folder as PEFT writes it (adapter_config.json, adapter_model.safetensors): read whole, held against the
 * model, and cut for a rank. A matrix that it changes and the model cannot adapt is an error, never left out.
 */
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { openPlainFile, readPlainFile } from '#platform/plain-file.ts';
import { parseStrictJson } from '#platform/strict-json.ts';
import { expectedTensors, type TensorShape } from '../models/expected-tensors.ts';
import type { AdaptedMatrix } from '../models/manifest.ts';
import { placesOf } from '../models/places.ts';
import type { ModelSpec } from '../models/spec.ts';
import { isAdaptable } from '../models/tensor-names.ts';
import { readHeader, type StoredTensor } from '../slicer/safetensors.ts';
import { isFloatType, widen } from '../slicer/widen.ts';
import { type AdapterConfig, parseAdapterConfig } from './adapter-config.ts';
import type { AdapterSlice } from './adapter-memory.ts';

const configFile = 'adapter_config.json';
const weightsFile = 'adapter_model.safetensors';
const remedy = 'Choose an adapter of this model, or merge it into the model';

/** Both matrices of one module. */
interface Pair {
  /** [rank, in] */
  readonly down: Float32Array;
  /** [out, rank] */
  readonly up: Float32Array;
  readonly rank: number;
  readonly inner: number;
  readonly scale: number;
}

export class PeftAdapter {
  /** By the tensor that they change. */
  readonly #pairs: ReadonlyMap<string, Pair>;

  private constructor(pairs: ReadonlyMap<string, Pair>) {
    this.#pairs = pairs;
  }

  /**
   * Errors: UNKNOWN_ADAPTER when the folder holds none; INVALID_ADAPTER when it is not for this model, of another kind, or of a
   * rank above `mostRank`; TRUNCATED_FILE, IO_ERROR.
   */
  static async read(folder: string, spec: ModelSpec, mostRank: number): Promise<PeftAdapter> {
    const config = parseAdapterConfig(await readConfig(folder), folder);
    const handle = await openPlainFile(path.join(folder, weightsFile));
    if (!handle) throw new TriremeError('UNKNOWN_ADAPTER', `${folder} has no ${weightsFile}`, { remedy });
    try {
      return new PeftAdapter(await readPairs({ handle, folder, config, mostRank }, spec));
    } finally {
      await handle.close();
    }
  }

  /** Of the part of a matrix that a rank has. */
  sliceOf({ tensor, rows, columns }: AdaptedMatrix): AdapterSlice | undefined {
    const pair = this.#pairs.get(tensor);
    if (!pair) return undefined;
    const { down, up, rank, inner, scale } = pair;
    const outer = rows.reduce((sum, { count }) => sum + count, 0);
    const slice = { down: new Float32Array(rank * columns.count), up: new Float32Array(rank * outer), rank, scale };
    for (let line = 0; line < rank; line++) {
      const start = line * inner + columns.first;
      slice.down.set(down.subarray(start, start + columns.count), line * columns.count);
      let to = line * outer;
      for (const { first, count } of rows) {
        for (let row = first; row < first + count; row++) slice.up[to++] = up[row * rank + line]!;
      }
    }
    return slice;
  }
}

interface Source {
  readonly handle: FileHandle;
  readonly folder: string;
  readonly config: AdapterConfig;
  readonly mostRank: number;
}

async function readConfig(folder: string): Promise<unknown> {
  const file = path.join(folder, configFile);
  const bytes = await readPlainFile(file);
  if (!bytes) throw new TriremeError('UNKNOWN_ADAPTER', `${folder} has no ${configFile}`, { remedy });
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw invalid(`${file} is malformed: ${(cause as Error).message}`, cause);
  }
}

function invalid(message: string, cause?: unknown): TriremeError {
  return new TriremeError('INVALID_ADAPTER', message, { remedy, ...(cause === undefined ? {} : { cause }) });
}

async function readPairs(source: Source, spec: ModelSpec): Promise<ReadonlyMap<string, Pair>> {
  const { folder, handle } = source;
  const stored = await readHeader(handle, path.join(folder, weightsFile));
  const modules = new Map<string, { down?: StoredTensor; up?: StoredTensor }>();
  for (const tensor of stored) {
    const parts = /^(?:base_model[.]model[.])?(.+)[.]lora_(A|B)(?:[.]default)?[.]weight$/.exec(tensor.name);
    if (!parts) throw invalid(`${folder}: tensor ${tensor.name} is no part of a plain LoRA adapter`);
    const [, module = '', side] = parts;
    const known = modules.get(module) ?? {};
    modules.set(module, side === 'A' ? { ...known, down: tensor } : { ...known, up: tensor });
  }
  if (modules.size === 0) throw invalid(`${folder} changes nothing`);
  const tensors = tensorsByName(spec);
  const pairs = new Map<string, Pair>();
  for (const [module, { down, up }] of modules) {
    if (!down || !up) throw invalid(`${folder}: module ${module} has one of its two matrices only`);
    const tensor = tensorOf(module, tensors, folder);
    pairs.set(tensor.name, await readPair(source, module, tensor, { down, up }));
  }
  return pairs;
}

/** The model's matrices by every name that they may have alone in a checkpoint. */
function tensorsByName(spec: ModelSpec): ReadonlyMap<string, TensorShape> {
  const matrices = expectedTensors(spec).filter(({ shape }) => shape.length === 2);
  return new Map(
    matrices.flatMap((tensor) =>
      placesOf(tensor, spec)
        .filter(({ rows }) => rows === undefined)
        .map((place) => [place.tensor, tensor] as const),
    ),
  );
}

function tensorOf(module: string, tensors: ReadonlyMap<string, TensorShape>, folder: string): TensorShape {
  const tensor = tensors.get(`${module}.weight`);
  if (!tensor) throw invalid(`${folder} changes ${module}, which the model does not have`);
  if (isAdaptable(tensor.name)) return tensor;
  throw invalid(`${folder} changes ${module}: ${reasonOf(tensor.name)}`);
}

/** Why a matrix that the model has cannot be adapted. */
function reasonOf(tensor: string): string {
  if (tensor.includes('.mlp.experts.')) return 'experts run for few rows each, and take no adapters';
  if (tensor.includes('.kv_b_proj.')) return 'it is multiplied into queries and contexts, not into rows';
  return 'only matrices of attention and of dense MLPs take adapters';
}

async function readPair(
  source: Source,
  module: string,
  tensor: TensorShape,
  stored: { readonly down: StoredTensor; readonly up: StoredTensor },
): Promise<Pair> {
  const { folder, config, mostRank } = source;
  const rank = config.rankOf(module);
  const [outer = 0, inner = 0] = tensor.shape;
  if (rank > mostRank)
    throw invalid(`${folder}: rank ${rank} of ${module} is above ${mostRank}, the largest that fits`);
  const expected = [
    [stored.down, [rank, inner]],
    [stored.up, [outer, rank]],
  ] as const;
  for (const [{ name, shape }, wanted] of expected) {
    if (shape.join() === wanted.join()) continue;
    throw invalid(
      `${folder}: tensor ${name} has shape [${shape.join(', ')}], the model asks for [${wanted.join(', ')}]`,
    );
  }
  const [down, up] = [await readFloats(source, stored.down), await readFloats(source, stored.up)];
  return { down, up, rank, inner, scale: config.scaleOf(module) };
}

async function readFloats({ handle, folder }: Source, { name, dtype, shape, offset, bytes }: StoredTensor) {
  if (!isFloatType(dtype)) throw invalid(`${folder}: tensor ${name} is stored as ${dtype}`);
  const raw = new Uint8Array(bytes);
  const { bytesRead } = await handle.read(raw, 0, bytes, offset).catch((cause: unknown) => {
    throw asIoError(cause, `read ${folder}/${weightsFile}`);
  });
  if (bytesRead !== bytes) throw new TriremeError('TRUNCATED_FILE', `${folder}/${weightsFile} ends early`, { remedy });
  const count = shape.reduce((product, size) => product * size, 1);
  const values = new Float32Array(count);
  assert(raw.byteOffset === 0, 'an array of its own starts its buffer');
  widen(dtype, raw.buffer, 0, count, values, 0);
  if (!values.every(Number.isFinite)) throw invalid(`${folder}: tensor ${name} holds values that are no numbers`);
  return values;
}
