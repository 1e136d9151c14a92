/** A checkpoint in whichever of the known containers it is. */
import type { Checkpoint } from './checkpoint.ts';
import { SafetensorsFolder } from './safetensors-folder.ts';

/** Dispose of it after use. Errors: those of SafetensorsFolder.open. */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  return await SafetensorsFolder.open(folder);
}
