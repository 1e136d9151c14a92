/** A model of the Hub into the cache: ask what it is, tell, load what is missing, make it visible. */
import type { Clock } from '#platform/clock.ts';
import { asIoError } from '#platform/io-error.ts';
import { CacheLayout } from './cache-layout.ts';
import { missingBytes, requireSpace, whenFull } from './disk-space.ts';
import { fetchBlob, hasBlob } from './fetch-blob.ts';
import { FileLock } from './file-lock.ts';
import { describeModel, listModelFiles, type ModelDescription } from './hub-api.ts';
import type { HubFile } from './hub-file.ts';
import type { HubHttp } from './hub-http.ts';
import type { ModelReference } from './model-reference.ts';
import { RemoteFile } from './remote-file.ts';
import { selectFiles } from './select-files.ts';
import { allTogether, Slots } from './slots.ts';
import { publishSnapshot } from './snapshot.ts';

export interface PullLimits {
  /** Requests under way, of all files together. */
  readonly connections: number;
  /** Files that grow at a time. */
  readonly openFiles: number;
  readonly partBytes: number;
  readonly writeBytes: number;
}

/** As many connections as other tools take; parts long enough that asking for them costs nothing. */
export const pullLimits: PullLimits = { connections: 8, openFiles: 8, partBytes: 64 << 20, writeBytes: 1 << 20 };

/** What will be loaded, told before the first byte is. */
export interface PullPlan extends ModelDescription {
  readonly repo: string;
  readonly revision: string;
  /** Where the model is when it has been loaded. */
  readonly folder: string;
  readonly files: readonly PlannedFile[];
  readonly missingBytes: number;
}

export interface PlannedFile {
  readonly path: string;
  readonly bytes: number;
  readonly digest: string;
  /** In the cache already. */
  readonly isCached: boolean;
}

export interface PullOptions {
  readonly http: HubHttp;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Patterns; the files that slicing needs when there are none. */
  readonly include?: readonly string[];
  readonly limits?: PullLimits;
  readonly onPlan?: (plan: PullPlan) => void;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  /** Another process is loading this file. */
  readonly onWait?: (path: string) => void;
}

/**
 * Returns what is now in the cache. On any error what was loaded is kept, invisible, for the next run. Errors: those of
 * describeModel, listModelFiles, selectFiles and fetchBlob; DISK_FULL, IO_ERROR, the signal's reason.
 */
export async function pullModel(reference: ModelReference, options: PullOptions): Promise<PullPlan> {
  const { http, signal, include = [] } = options;
  const { repo, revision } = reference;
  const description = await describeModel(http, reference, signal);
  const { commit } = description;
  const listing = await listModelFiles(http, repo, commit, signal);
  const files = selectFiles(listing, include);
  const layout = new CacheLayout(http.settings.cacheFolder, repo);
  try {
    const missing = await withoutBlob(layout, files);
    const plan: PullPlan = {
      ...description,
      repo,
      revision,
      folder: layout.snapshot(commit),
      files: files.map((file) => planned(file, !missing.has(file.digest.hex))),
      missingBytes: sumOf(missing.values()),
    };
    options.onPlan?.(plan);
    await requireSpace(layout.cacheFolder, await missingBytes(layout, [...missing.values()]));
    await fetchBlobs(missing, plan, layout, options);
    await using _lock = await FileLock.acquire(layout.repoLock, { clock: options.clock, signal });
    await publishSnapshot({ layout, revision, commit, files, listing });
    return plan;
  } catch (cause) {
    throw asIoError(cause, `keep ${repo} in ${layout.cacheFolder}`, whenFull);
  }
}

async function fetchBlobs(
  missing: ReadonlyMap<string, HubFile>,
  { repo, commit, missingBytes: totalBytes }: PullPlan,
  layout: CacheLayout,
  { http, clock, signal, limits = pullLimits, onProgress, onWait }: PullOptions,
): Promise<void> {
  let doneBytes = 0;
  const onBytes = (count: number): void => {
    doneBytes += count;
    onProgress?.(doneBytes, totalBytes);
  };
  const openFiles = new Slots(limits.openFiles);
  const connections = new Slots(limits.connections);
  await allTogether(missing.values(), signal, (file, fileSignal) =>
    openFiles.run(fileSignal, () =>
      fetchBlob(file, new RemoteFile(http, repo, commit, file), {
        http,
        layout,
        clock,
        connections,
        partBytes: limits.partBytes,
        writeBytes: limits.writeBytes,
        signal: fileSignal,
        onBytes,
        onWait: ({ path: name }) => onWait?.(name),
      }),
    ),
  );
}

/** By digest: two files of the same content are one blob. */
async function withoutBlob(layout: CacheLayout, files: readonly HubFile[]): Promise<Map<string, HubFile>> {
  const missing = new Map<string, HubFile>();
  for (const file of files) if (!(await hasBlob(layout, file))) missing.set(file.digest.hex, file);
  return missing;
}

function planned({ path: name, bytes, digest }: HubFile, isCached: boolean): PlannedFile {
  return { path: name, bytes, digest: `${digest.algorithm}:${digest.hex}`, isCached };
}

function sumOf(files: Iterable<HubFile>): number {
  return Array.from(files, ({ bytes }) => bytes).reduce((sum, bytes) => sum + bytes, 0);
}
