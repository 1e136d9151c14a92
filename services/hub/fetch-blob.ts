/** One blob of the cache: loaded under its lock, checked, and only then visible under its name. */
import { stat } from 'node:fs/promises';
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import { isMissing } from '#platform/io-error.ts';
import type { CacheLayout } from './cache-layout.ts';
import { digestOf } from './content-digest.ts';
import { FileLock } from './file-lock.ts';
import type { HubFile } from './hub-file.ts';
import { type LoadContext, loadMissing } from './load-file.ts';
import { PartialFile } from './partial-file.ts';
import type { RemoteFile } from './remote-file.ts';

export interface BlobContext extends LoadContext {
  readonly layout: CacheLayout;
  readonly clock: Clock;
  readonly partBytes: number;
  /** Somebody else is loading the same blob. */
  readonly onWait: (file: HubFile) => void;
}

/**
 * Errors: those of loadMissing and FileLock; DIGEST_MISMATCH when fresh bytes are not what they should be. On any other error
 * what was loaded is kept for the next run.
 */
export async function fetchBlob(file: HubFile, source: RemoteFile, context: BlobContext): Promise<void> {
  const { layout, signal, clock, onBytes } = context;
  await using _lock = await FileLock.acquire(layout.blobLock(file.digest), {
    clock,
    signal,
    onWait: () => context.onWait(file),
  });
  if (await hasBlob(layout, file)) return onBytes(file.bytes); // Somebody else has loaded it meanwhile.
  await layout.createFolders();
  const isGood = await loadChecked(file, source, context);
  // The second time it begins with nothing, and is good or throws.
  if (!isGood) await loadChecked(file, source, context);
}

/**
 * False when the bytes are wrong, but began with what an earlier run left, which a power cut may have damaged. They are gone then.
 * Errors: DIGEST_MISMATCH when all bytes are fresh.
 */
async function loadChecked(file: HubFile, source: RemoteFile, context: BlobContext): Promise<boolean> {
  const { layout, partBytes, onBytes, signal } = context;
  await using partial = await PartialFile.open(layout.partial(file.digest), file.bytes, partBytes);
  const leftBytes = partial.doneBytes;
  onBytes(leftBytes);
  try {
    await loadMissing(source, partial, context);
  } catch (cause) {
    // Nothing to go on from.
    if (partial.doneBytes === 0) await partial.discard();
    throw cause;
  }
  const { algorithm, hex } = file.digest;
  if ((await digestOf(partial.handle, file.bytes, algorithm, signal)) === hex) {
    await partial.publish(layout.blob(file.digest));
    return true;
  }
  await partial.discard();
  onBytes(-file.bytes);
  if (leftBytes > 0) return false;
  throw new TriremeError('DIGEST_MISMATCH', `${file.path} does not have the ${algorithm} it is listed with`, {
    remedy: 'Its bytes were thrown away; the server, or something on the way to it, is broken',
  });
}

/** Whether the blob is there, as long as it should be. Its digest was checked when it came. */
export async function hasBlob(layout: CacheLayout, file: HubFile): Promise<boolean> {
  return (await sizeOf(layout.blob(file.digest))) === file.bytes;
}

/** Undefined when there is no such file. */
export async function sizeOf(place: string): Promise<number | undefined> {
  try {
    return (await stat(place)).size;
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
}
