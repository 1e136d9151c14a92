/** A checkpoint in whichever of the known containers it is. */
import { readdir } from 'node:fs/promises';
import { asIoError, isMissing } from '#platform/io-error.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type FileSet, fileSetIn, fileSetOf, isGgufName } from './gguf/file-set.ts';
import { GgufFile } from './gguf/gguf-file.ts';
import { hasWeights, SafetensorsFolder } from './safetensors-folder.ts';

/**
 * `place` is a GGUF file, or a folder: with the files of a Hugging Face model, or with one GGUF model. Dispose of it after use.
 * Errors: NOT_A_CHECKPOINT, INVALID_CHECKPOINT, UNKNOWN_FAMILY, TRUNCATED_FILE, MISSING_TENSOR, IO_ERROR.
 */
export async function openCheckpoint(place: string): Promise<Checkpoint> {
  const set = await findGguf(place);
  return set ? await GgufFile.open(set) : await SafetensorsFolder.open(place);
}

/** True when there is a file with weights, or where they are looked for. Errors: as openCheckpoint. */
export async function holdsWeights(place: string): Promise<boolean> {
  return (await findGguf(place)) !== undefined || hasWeights((await namesIn(place)) ?? []);
}

/** undefined for a folder that has weights in safetensors form, or none. */
async function findGguf(place: string): Promise<FileSet | undefined> {
  const names = await namesIn(place);
  if (names === undefined) return isGgufName(place) ? fileSetOf(place) : undefined;
  return hasWeights(names) ? undefined : fileSetIn(place, names);
}

/** undefined when it is no folder. */
async function namesIn(place: string): Promise<readonly string[] | undefined> {
  return readdir(place).catch((cause: unknown) => {
    if (isMissing(cause)) return undefined;
    throw asIoError(cause, `read ${place}`);
  });
}
