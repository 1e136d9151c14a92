/**
 * A model as somebody stored it: its config, where its tensors lie, their bytes by range, and what serving needs besides. Two containers
 * hold one: a folder of safetensors files, and a GGUF file.
 */
import path from 'node:path';
import { type ErrorCode, TriremeError } from '#platform/errors.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { parseStrictJson } from '#platform/strict-json.ts';
import type { TensorShape } from '../models/expected-tensors.ts';
import type { TensorPlace } from '../models/places.ts';
import type { ModelSpec } from '../models/spec.ts';
import type { Source } from './provenance.ts';
import type { StoredTensor } from './safetensors.ts';

/** Dispose of it after use. */
export interface Checkpoint extends AsyncDisposable {
  /** Where its files lie. */
  readonly folder: string;
  /** Names of the files that were read, for provenance. */
  readonly files: readonly string[];
  /** What says which shapes the tensors have, for messages. */
  readonly configName: string;
  /** What config.json says, or would say. */
  readonly config: unknown;
  readonly spec: ModelSpec;
  readonly tensors: Iterable<StoredTensor>;
  tensor(name: string): StoredTensor | undefined;
  /** Fills `target` with a tensor's bytes from `offset`. Errors: MISSING_TENSOR, TRUNCATED_FILE, IO_ERROR. */
  read(name: string, offset: number, target: Uint8Array): Promise<void>;
  /** Where this container may hold a tensor of the model; those that are likelier first. */
  placesOf(tensor: TensorShape): readonly TensorPlace[];
  /** True for a tensor that some files hold and the model does not read. */
  isExtra(name: string): boolean;
  /** What goes into a package beside the weights. Errors: MISSING_TOKENIZER, INVALID_CHECKPOINT, IO_ERROR. */
  companions(): Promise<readonly Companion[]>;
  /** Ids that end a turn. Errors: INVALID_CHECKPOINT. */
  endTokens(): Promise<readonly number[]>;
  source(): Promise<Source>;
}

/** A file that goes into a package as it is. */
export interface Companion {
  readonly name: string;
  /** undefined: it lies in the checkpoint's folder. */
  readonly contents?: Uint8Array;
}

/** `configName` is what asks for it. */
export function missingTensor(name: string, configName = 'config.json'): TriremeError {
  return new TriremeError('MISSING_TENSOR', `the checkpoint has no tensor ${name}`, {
    remedy: `Fetch all files of the model; ${configName} must belong to these weights`,
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
