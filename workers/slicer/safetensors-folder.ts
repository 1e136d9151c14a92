/** A Hugging Face folder: config.json, safetensors files, and the files of the tokenizer. */
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { openPlainFile } from '#platform/plain-file.ts';
import type { TensorShape } from '../models/expected-tensors.ts';
import { readModelSpec } from '../models/families.ts';
import { isExtraTensor, placesOf, type TensorPlace } from '../models/places.ts';
import type { ModelSpec } from '../models/spec.ts';
import { type Checkpoint, type Companion, missingTensor, readJson } from './checkpoint.ts';
import { findCompanions, readEndTokens } from './companions.ts';
import { PlacedTensors } from './placed-tensors.ts';
import { describeSource, type Source } from './provenance.ts';
import { readHeader, type StoredTensor } from './safetensors.ts';

const singleFile = 'model.safetensors';
const indexFile = 'model.safetensors.index.json';

export class SafetensorsFolder implements Checkpoint {
  readonly folder: string;
  readonly files: readonly string[];
  readonly configName = 'config.json';
  readonly config: unknown;
  readonly spec: ModelSpec;
  readonly #tensors: PlacedTensors;

  private constructor(folder: string, config: unknown, spec: ModelSpec, opened: OpenedTensors) {
    this.folder = folder;
    this.config = config;
    this.spec = spec;
    this.files = ['config.json', ...opened.files];
    this.#tensors = opened.tensors;
  }

  /**
   * Errors: NOT_A_CHECKPOINT, INVALID_CHECKPOINT, UNKNOWN_FAMILY, TRUNCATED_FILE, IO_ERROR, MISSING_TENSOR (an index that names a tensor
   * its file does not hold).
   */
  static async open(folder: string): Promise<SafetensorsFolder> {
    const config = await readJson(folder, 'config.json');
    if (config === undefined) {
      throw new TriremeError('NOT_A_CHECKPOINT', `${folder} has no config.json`, {
        remedy: 'Name a folder with the files of a Hugging Face model, or a GGUF file',
      });
    }
    return new SafetensorsFolder(folder, config, readModelSpec(config), await openTensors(folder));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tensors[Symbol.asyncDispose]();
  }

  get tensors(): Iterable<StoredTensor> {
    return this.#tensors.all;
  }

  tensor(name: string): StoredTensor | undefined {
    return this.#tensors.get(name);
  }

  read(name: string, offset: number, target: Uint8Array): Promise<void> {
    return this.#tensors.read(name, offset, target);
  }

  placesOf(tensor: TensorShape): readonly TensorPlace[] {
    return placesOf(tensor, this.spec);
  }

  isExtra(name: string): boolean {
    return isExtraTensor(name, this.spec, (other) => this.tensor(other) !== undefined);
  }

  companions(): Promise<readonly Companion[]> {
    return findCompanions(this.folder);
  }

  endTokens(): Promise<readonly number[]> {
    return readEndTokens(this.folder, this.config);
  }

  source(): Promise<Source> {
    return describeSource(this.folder);
  }
}

/** True when there is a file where weights are looked for, among a folder's names. */
export function hasWeights(names: readonly string[]): boolean {
  return names.includes(singleFile) || names.includes(indexFile);
}

interface OpenedTensors {
  readonly files: readonly string[];
  readonly tensors: PlacedTensors;
}

async function openTensors(folder: string): Promise<OpenedTensors> {
  const index = await readJson(folder, indexFile);
  const homes = index === undefined ? undefined : readWeightMap(index);
  const names = homes === undefined ? [singleFile] : [...new Set(homes.values())].sort();
  const tensors = new PlacedTensors();
  try {
    for (const file of names) {
      const handle = await openFile(folder, file);
      tensors.addFile(handle);
      for (const tensor of await readHeader(handle, file)) {
        if (!homes || homes.get(tensor.name) === file) tensors.add(tensor, file, handle);
      }
    }
    const lost = [...(homes?.keys() ?? [])].find((name) => !tensors.get(name));
    if (lost !== undefined) throw missingTensor(lost);
    return { files: homes === undefined ? names : [indexFile, ...names], tensors };
  } catch (cause) {
    await tensors[Symbol.asyncDispose]();
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
