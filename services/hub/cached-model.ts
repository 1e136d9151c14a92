/** Models as the cache has them, without asking anybody. */

import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { asIoError, isMissing } from '#platform/io-error.ts';
import { CacheLayout } from './cache-layout.ts';
import { sizeOf } from './fetch-blob.ts';
import type { ModelReference } from './model-reference.ts';
import { isNeeded, selectFiles } from './select-files.ts';
import { readListing, readRef } from './snapshot.ts';

export interface CachedModel {
  readonly repo: string;
  readonly revision: string;
  readonly commit: string;
  readonly folder: string;
  /** Files below the folder. */
  readonly files: readonly { readonly path: string; readonly bytes: number }[];
}

/**
 * The commit that the revision was when it was last pulled, with all files that match `include`; without patterns, with all
 * that a model needs. Errors: NOT_CACHED, which says what is missing; HUB_FILE_NOT_FOUND, IO_ERROR.
 */
export async function readCachedModel(
  { repo, revision }: ModelReference,
  cacheFolder: string,
  include: readonly string[] = [],
): Promise<CachedModel> {
  const layout = new CacheLayout(cacheFolder, repo);
  try {
    const commit = await readRef(layout, revision);
    if (commit === undefined) throw notCached(repo, revision, `nobody has pulled it into ${cacheFolder}`);
    const folder = layout.snapshot(commit);
    const files = await filesBelow(folder);
    const listing = await readListing(layout, commit);
    const wanted = listing ? wantedOf(listing, include) : await wantedWithoutListing(folder, files, include);
    const missing = wanted.filter((name) => !files.some((file) => file.path === name));
    if (files.length === 0) throw notCached(repo, revision, 'no file of it is there');
    if (missing.length > 0) throw notCached(repo, revision, `it lacks ${missing.slice(0, 5).join(', ')}`);
    return { repo, revision, commit, folder, files };
  } catch (cause) {
    throw asIoError(cause, `read ${repo} in ${cacheFolder}`);
  }
}

function wantedOf(listing: readonly { path: string }[], include: readonly string[]): string[] {
  const wanted = include.length > 0 ? selectFiles(listing, include) : listing.filter(isNeeded);
  return wanted.map((file) => file.path);
}

/** Other tools do not note what a commit consists of. Then the index of its weights says what a model needs. */
async function wantedWithoutListing(
  folder: string,
  files: readonly { path: string }[],
  include: readonly string[],
): Promise<string[]> {
  if (include.length > 0) return selectFiles(files, include).map((file) => file.path);
  const index = await readFile(path.join(folder, 'model.safetensors.index.json'), 'utf8').catch(() => undefined);
  if (index !== undefined) return ['config.json', ...shardsIn(index)];
  const hasWeights = files.some((file) => /^[^/]+\.safetensors$/.test(file.path));
  return hasWeights ? ['config.json'] : ['config.json', 'model.safetensors'];
}

function shardsIn(index: string): string[] {
  try {
    const { weight_map: map } = JSON.parse(index) as { weight_map?: Record<string, unknown> };
    return [...new Set(Object.values(map ?? {}).map(String))];
  } catch {
    return []; // Whoever reads the checkpoint says what is wrong with its index.
  }
}

/** Those whose content is there: a link to a blob that somebody has removed does not count. */
async function filesBelow(folder: string): Promise<{ path: string; bytes: number }[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    if (isMissing(cause)) return [];
    throw cause;
  });
  const files: { path: string; bytes: number }[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const place = path.join(entry.parentPath, entry.name);
    const bytes = await sizeOf(place);
    if (bytes !== undefined) files.push({ path: path.relative(folder, place).split(path.sep).join('/'), bytes });
  }
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function notCached(repo: string, revision: string, why: string): TriremeError {
  return new TriremeError('NOT_CACHED', `${repo}@${revision} is not in the cache: ${why}`, {
    remedy: `Run trireme pull ${repo}${revision === 'main' ? '' : `@${revision}`} with a network`,
  });
}
