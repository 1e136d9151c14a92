/** A GGUF file, or the parts of one: everything that a model needs, weights, config and tokenizer. */
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { openPlainFile } from '#platform/plain-file.ts';
import type { TensorShape } from '../../models/expected-tensors.ts';
import { readModelSpec } from '../../models/families.ts';
import { ggufPlacesOf, isExtraGgufTensor } from '../../models/gguf-places.ts';
import type { TensorPlace } from '../../models/places.ts';
import type { ModelSpec } from '../../models/spec.ts';
import type { Checkpoint, Companion } from '../checkpoint.ts';
import { PlacedTensors } from '../placed-tensors.ts';
import { describeSource, type Source } from '../provenance.ts';
import type { StoredTensor } from '../safetensors.ts';
import { floatTypes, isFloatType } from '../widen.ts';
import { blockFormats } from './blocks/block-formats.ts';
import { configOf } from './config.ts';
import type { FileSet } from './file-set.ts';
import { type GgufHeader, readGgufHeader } from './header.ts';
import { Metadata } from './metadata.ts';
import { withRopeFactors } from './rope-factors.ts';
import { refuseOtherParts } from './split.ts';
import { type TokenizerFiles, tokenizerFilesOf } from './tokenizer/gguf-tokenizer.ts';

export class GgufFile implements Checkpoint {
  readonly folder: string;
  readonly files: readonly string[];
  readonly configName: string;
  readonly config: unknown;
  readonly spec: ModelSpec;
  readonly #name: string;
  readonly #metadata: Metadata;
  readonly #tensors: PlacedTensors;
  /** Made when somebody asks for it. */
  #tokenizer: TokenizerFiles | undefined;

  private constructor(
    set: FileSet,
    metadata: Metadata,
    model: { config: unknown; spec: ModelSpec },
    tensors: PlacedTensors,
  ) {
    this.folder = set.folder;
    this.files = set.files;
    this.configName = `the metadata of ${metadata.file}`;
    this.config = model.config;
    this.spec = model.spec;
    this.#name = set.name;
    this.#metadata = metadata;
    this.#tensors = tensors;
  }

  /** Errors: NOT_A_CHECKPOINT, INVALID_CHECKPOINT, UNKNOWN_FAMILY, TRUNCATED_FILE, IO_ERROR. */
  static async open(set: FileSet): Promise<GgufFile> {
    const tensors = new PlacedTensors();
    try {
      const metadata = await openParts(set, tensors);
      const model = await describe(metadata, tensors);
      return new GgufFile(set, metadata, model, tensors);
    } catch (cause) {
      await tensors[Symbol.asyncDispose]();
      throw cause;
    }
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
    return ggufPlacesOf(tensor, this.spec);
  }

  isExtra(name: string): boolean {
    return isExtraGgufTensor(name, this.spec, (other) => this.tensor(other) !== undefined);
  }

  async companions(): Promise<readonly Companion[]> {
    const files = Object.entries(this.#tokenizerFiles());
    return files.map(([name, json]) => ({ name, contents: new TextEncoder().encode(JSON.stringify(json)) }));
  }

  async endTokens(): Promise<readonly number[]> {
    return this.#tokenizerFiles()['generation_config.json'].eos_token_id;
  }

  #tokenizerFiles(): TokenizerFiles {
    this.#tokenizer ??= tokenizerFilesOf(this.#metadata, this.spec.vocabularySize);
    return this.#tokenizer;
  }

  async source(): Promise<Source> {
    const { revision, licence, source } = await describeSource(this.folder);
    const isCached = revision !== null;
    return {
      name: this.#name,
      source: isCached ? `${source}/${this.#name}` : this.#name,
      revision,
      licence: this.#metadata.text('general.license') ?? licence,
    };
  }
}

/** Opens all files of the set, and returns the metadata of the first, which are the model's. */
async function openParts({ folder, files }: FileSet, tensors: PlacedTensors): Promise<Metadata> {
  const parts: { file: string; header: GgufHeader }[] = [];
  for (const file of files) {
    const handle = await openPlainFile(path.join(folder, file));
    if (!handle) {
      throw new TriremeError('NOT_A_CHECKPOINT', `${folder} has no ${file}`, {
        remedy: 'Fetch all parts of the model',
      });
    }
    tensors.addFile(handle);
    const header = await readGgufHeader(handle, file);
    for (const tensor of header.tensors) {
      if (tensors.get(tensor.name)) {
        throw new TriremeError('INVALID_CHECKPOINT', `${file}: tensor ${tensor.name} is in a part before as well`, {
          remedy: 'Fetch all parts of the model again',
        });
      }
      tensors.add(tensor, file, handle);
    }
    parts.push({ file, header });
  }
  const metadata = parts.map(({ file, header }) => new Metadata(header.metadata, file));
  refuseOtherParts(metadata, [...tensors.all].length);
  return metadata[0]!;
}

async function describe(metadata: Metadata, tensors: PlacedTensors): Promise<{ config: unknown; spec: ModelSpec }> {
  const shapes = new Map([...tensors.all].map(({ name, shape }) => [name, shape]));
  const config = configOf(metadata, shapes);
  const name = `the metadata of ${metadata.file}, read as a config.json`;
  const spec = readModelSpec(config, name);
  refuseUnreadTypes(tensors, spec, metadata.file);
  const rotary = await withRopeFactors(spec.rotary, tensors, metadata.file);
  // The 1 that norms add lies in the file with the weights.
  return { config, spec: { ...spec, rotary, normsAddOne: false } };
}

function refuseUnreadTypes(tensors: PlacedTensors, spec: ModelSpec, file: string): void {
  const isRead = (type: string): boolean => isFloatType(type) || blockFormats.has(type);
  const has = (name: string): boolean => tensors.get(name) !== undefined;
  const odd = [...tensors.all].find(({ name, dtype }) => !isRead(dtype) && !isExtraGgufTensor(name, spec, has));
  if (!odd) return;
  const supported = [...floatTypes, ...blockFormats.keys()].join(', ');
  throw new TriremeError(
    'INVALID_CHECKPOINT',
    `${file}: tensor ${odd.name} is stored as ${odd.dtype}; supported: ${supported}`,
    { remedy: 'Fetch the model in another type, Q8_0 or Q4_K_M for one' },
  );
}
