/** A Hugging Face folder, opened: its config, where its tensors lie, and their bytes by range. */
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { type ErrorCode, TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { openPlainFile, readPlainFile } from '#platform/plain-file.ts';
import { parseStrictJson } from '#platform/strict-json.ts';
import { readModelSpec } from '../models/families.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readHeader, type StoredTensor } from './safetensors.ts';

const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';
/** Experts of all layers together; the largest models have some tens of thousands. */
const mostExperts = 200_000;

/** A tensor and the open file that holds it. */
interface PlacedTensor extends StoredTensor {
  readonly file: string;
  readonly handle: FileHandle;
}

export class Checkpoint {
  readonly folder: string;
  readonly config: unknown;
  readonly spec: ModelSpec;
  /** Names of the files that were read, for provenance. */
  readonly files: readonly string[];
  readonly #handles: readonly FileHandle[];
  readonly #tensors: ReadonlyMap<string, PlacedTensor>;

  private constructor(folder: string, config: unknown, spec: ModelSpec, opened: OpenedTensors) {
    this.folder = folder;
    this.config = config;
    this.spec = spec;
    this.files = ['config.json', ...opened.files];
    this.#handles = opened.handles;
    this.#tensors = opened.tensors;
  }

  /**
   * Dispose of it after use. Errors: NOT_A_CHECKPOINT, INVALID_CHECKPOINT, UNKNOWN_FAMILY, TRUNCATED_FILE, IO_ERROR, MISSING_TENSOR
   * (an index that names a tensor its file does not hold).
   */
  static async open(folder: string): Promise<Checkpoint> {
    const config = await readJson(folder, 'config.json');
    if (config === undefined) {
      throw new TriremeError('NOT_A_CHECKPOINT', `${folder} has no config.json`, {
        remedy: 'Name a folder with the files of a Hugging Face model',
      });
    }
    refuseBoundless(config);
    const spec = readModelSpec(config);
    return new Checkpoint(folder, config, spec, await openTensors(folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#handles.map((handle) => handle.close()));
  }

  get tensors(): Iterable<StoredTensor> {
    return this.#tensors.values();
  }

  tensor(name: string): StoredTensor | undefined {
    return this.#tensors.get(name);
  }

  /** Fills `target` with a tensor's bytes from `offset`. Errors: MISSING_TENSOR, TRUNCATED_FILE, IO_ERROR. */
  async read(name: string, offset: number, target: Uint8Array): Promise<void> {
    const tensor = this.#tensors.get(name);
    if (!tensor) throw missingTensor(name);
    let done = 0;
    while (done < target.length) {
      const { bytesRead } = await tensor.handle
        .read(target, done, target.length - done, tensor.offset + offset + done)
        .catch((cause: unknown) => {
          throw asIoError(cause, `read ${tensor.file}`);
        });
      if (bytesRead === 0) {
        throw new TriremeError('TRUNCATED_FILE', `${tensor.file} became shorter while it was read`, {
          remedy: 'Let nobody write there, and try again',
        });
      }
      done += bytesRead;
    }
  }
}

/** Every layer and expert becomes a list of tensors: a number from a damaged file must not fill the memory first. */
function refuseBoundless(config: unknown): void {
  const fields = Object.entries(config ?? {});
  const largest = (name: RegExp): number =>
    fields.reduce((most, [key, value]) => (name.test(key) && value > most ? Number(value) : most), 1);
  const [layers, experts] = [largest(/^(num_hidden|n)_layers?$/), largest(/^(num|n)_(local_|routed_)?experts$/)];
  if (layers * experts <= mostExperts) return;
  throw new TriremeError(
    'INVALID_CHECKPOINT',
    `config.json asks for ${layers} layers of ${experts} experts; at most ${mostExperts} experts in all are read`,
    { remedy: 'Fetch config.json again' },
  );
}

export function missingTensor(name: string): TriremeError {
  return new TriremeError('MISSING_TENSOR', `the checkpoint has no tensor ${name}`, {
    remedy: 'Fetch all files of the model; config.json must belong to these weights',
  });
}

/** The parsed file, or undefined when it is not there. Errors: `code` when it is no JSON, IO_ERROR. */
export async function readJson(folder: string, file: string, code: ErrorCode = 'INVALID_CHECKPOINT'): Promise<unknown> {
  const bytes = await readPlainFile(path.join(folder, file));
  if (bytes === undefined) return undefined;
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw new TriremeError(code, `${path.join(folder, file)} is malformed: ${(cause as Error).message}`, {
      remedy: 'Fetch the file again',
      cause,
    });
  }
}

interface OpenedTensors {
  readonly files: readonly string[];
  readonly handles: readonly FileHandle[];
  readonly tensors: ReadonlyMap<string, PlacedTensor>;
}

async function openTensors(folder: string): Promise<OpenedTensors> {
  const index = await readJson(folder, indexFile);
  const homes = index === undefined ? undefined : readWeightMap(index);
  const names = homes === undefined ? [singleFile] : [...new Set(homes.values())].sort();
  const handles: FileHandle[] = [];
  try {
    const tensors = new Map<string, PlacedTensor>();
    for (const file of names) {
      const handle = await openFile(folder, file);
      handles.push(handle);
      for (const tensor of await readHeader(handle, file)) {
        if (!homes || homes.get(tensor.name) === file) tensors.set(tensor.name, { ...tensor, file, handle });
      }
    }
    const lost = [...(homes?.keys() ?? [])].find((name) => !tensors.has(name));
    if (lost !== undefined) throw missingTensor(lost);
    return { files: homes === undefined ? names : [indexFile, ...names], handles, tensors };
  } catch (cause) {
    await Promise.all(handles.map((handle) => handle.close()));
    throw cause;
  }
}

/** Tensor name to file name. */
function readWeightMap(index: unknown): ReadonlyMap<string, string> {
  const map: unknown = (index as { weight_map?: unknown } | null)?.weight_map;
  const entries = typeof map === 'object' && map !== null ? Object.entries(map) : [];
  const isPlainName = (file: unknown): file is string =>
    typeof file === 'string' && path.basename(file) === file && file.endsWith('.safetensors');
  if (entries.length === 0 || !entries.every(([, file]) => isPlainName(file))) {
    throw new TriremeError(
      'INVALID_CHECKPOINT',
      `${indexFile}: weight_map does not map tensors to safetensors files of this folder`,
      { remedy: 'Fetch the file again' },
    );
  }
  return new Map(entries);
}

async function openFile(folder: string, file: string): Promise<FileHandle> {
  const handle = await openPlainFile(path.join(folder, file));
  if (handle) return handle;
  throw new TriremeError('NOT_A_CHECKPOINT', `${folder} has no ${file}`, {
    remedy: 'Fetch all files of the model, in safetensors form',
  });
}
