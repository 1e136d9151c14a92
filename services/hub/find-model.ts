/** From what a person wrote for a model to the folder that holds it. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { readCachedModel } from './cached-model.ts';
import { type ModelReference, parseModelReference } from './model-reference.ts';

export interface ModelSources {
  readonly cacheFolder: string;
  /** Returns the folder of a model that the cache does not have. Undefined when nothing may be asked. */
  readonly pull: ((reference: ModelReference) => Promise<string>) | undefined;
}

/**
 * An existing folder is itself. ORG/NAME comes from the cache, or is pulled. Anything else is returned as it is: whoever opens it
 * says what is wrong with it. Errors: NOT_CACHED, those of openSources (called when a folder is not there) and of `pull`.
 */
export async function findModel(text: string, openSources: () => Promise<ModelSources>): Promise<string> {
  if (await isThere(text)) return text;
  const reference = parseModelReference(text);
  if (reference === undefined) return text;
  const { cacheFolder, pull } = await openSources();
  try {
    return (await readCachedModel(reference, cacheFolder)).folder;
  } catch (error) {
    if (!(error instanceof TriremeError) || error.code !== 'NOT_CACHED') throw error;
    // Whoever has a folder ORG here means a path in it, and has mistyped it: no reason to ask strangers.
    if (!reference.isExplicit && (await isThere(path.dirname(text)))) return text;
    if (pull === undefined) throw error;
  }
  return pull(reference);
}

async function isThere(place: string): Promise<boolean> {
  return stat(place).then(
    () => true,
    () => false,
  );
}
