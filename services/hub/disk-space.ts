/** Whether there is room for what will be loaded, asked before anything is. */
import { stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { isMissing } from '#platform/io-error.ts';
import type { CacheLayout } from './cache-layout.ts';
import type { HubFile } from './hub-file.ts';

export const whenFull =
  'Free some space, or name another cache by HF_HUB_CACHE; what was loaded is kept for the next run';

/** Bytes of the files that are not on the disk yet, whole or in part. */
export async function missingBytes(layout: CacheLayout, files: readonly HubFile[]): Promise<number> {
  const missing = files.map(async (file) => {
    const allocated = await allocatedBytes(layout.partial(file.digest));
    return Math.max(0, file.bytes - allocated);
  });
  return (await Promise.all(missing)).reduce((sum, bytes) => sum + bytes, 0);
}

/** Errors: DISK_FULL. */
export async function requireSpace(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(await nearestFolder(folder));
  const free = bavail * bsize;
  if (bytes <= free) return;
  const shown = (count: number): string => `${(count / 2 ** 20).toFixed(1)} MiB`;
  const message = `${folder} has room for ${shown(free)}, and ${shown(bytes)} are to be loaded`;
  throw new TriremeError('DISK_FULL', message, { remedy: whenFull });
}

/** Of a file with gaps less than its length. */
async function allocatedBytes(file: string): Promise<number> {
  try {
    return (await stat(file)).blocks * 512;
  } catch (cause) {
    if (isMissing(cause)) return 0;
    throw cause;
  }
}

async function nearestFolder(folder: string): Promise<string> {
  for (let place = folder; ; place = path.dirname(place)) {
    if (await stat(place).catch(() => undefined)) return place;
    if (place === path.dirname(place)) return place;
  }
}
