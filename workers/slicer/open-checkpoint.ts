/** A checkpoint in whichever of the known containers it is. */
import { readdir } from 'node:fs/promises';
import { asIoError, isMissing } from '#platform/io-error.ts';
import type { Checkpoint } from './checkpoint.ts';
import { fileSetIn, fileSetOf, isGgufName } from './gguf/file-set.ts';
import { GgufFile } from './gguf/gguf-file.ts';
import { SafetensorsFolder } from './safetensors-folder.ts';

/**
 * `place` is a GGUF file, or a folder: with the files of a Hugging Face model, or with one GGUF model. Dispose of it after use.
 * Errors: NOT_A_CHECKPOINT, INVALID_CHECKPOINT, UNKNOWN_FAMILY, TRUNCATED_FILE, MISSING_TENSOR, IO_ERROR.
 */
export async function openCheckpoint(place: string): Promise<Checkpoint> {
  const names = await namesIn(place);
  if (names === undefined && isGgufName(place)) return await GgufFile.open(fileSetOf(place));
  const hasSafetensors = names?.some((name) => /[.]safetensors(?:[.]index[.]json)?$/.test(name)) ?? false;
  const set = hasSafetensors ? undefined : fileSetIn(place, names ?? []);
  return set ? await GgufFile.open(set) : await SafetensorsFolder.open(place);
}

/** undefined when it is no folder. */
async function namesIn(place: string): Promise<readonly string[] | undefined> {
  return readdir(place).catch((cause: NodeJS.ErrnoException) => {
    if (isMissing(cause) || cause.code === 'ENOTDIR') return undefined;
    throw asIoError(cause, `read ${place}`);
  });
}
