/**
 * What makes loaded blobs a model: links under the names of the repository, the listing of the commit, and the ref that says
 * which commit a branch is. In this order, so that a ref never leads to less than was asked for.
 */
import { mkdir, readFile, readlink, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { isMissing } from '#platform/io-error.ts';
import type { CacheLayout } from './cache-layout.ts';
import type { HubFile } from './hub-file.ts';
import { isCommit } from './model-reference.ts';

export interface Publication {
  readonly layout: CacheLayout;
  readonly revision: string;
  readonly commit: string;
  /** Whose blobs are there. */
  readonly files: readonly HubFile[];
  /** All of the commit. */
  readonly listing: readonly HubFile[];
}

/** Under the lock of the repository. Running it again changes nothing. Errors: those of the file system. */
export async function publishSnapshot({ layout, revision, commit, files, listing }: Publication): Promise<void> {
  const snapshot = layout.snapshot(commit);
  await mkdir(snapshot, { recursive: true });
  for (const file of files) await linkBlob(layout, path.join(snapshot, file.path), file);
  await replaceFile(layout.listing(commit), JSON.stringify(listingOf(listing), null, 1));
  if (revision !== commit) await replaceFile(layout.ref(revision), commit);
}

async function linkBlob(layout: CacheLayout, place: string, file: HubFile): Promise<void> {
  await mkdir(path.dirname(place), { recursive: true });
  const target = path.relative(path.dirname(place), layout.blob(file.digest));
  if ((await linkAt(place)) === target) return;
  // A plain file is how the cache looks where there are no links.
  if ((await sizeAt(place)) === file.bytes) return;
  await unlink(place).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
  await symlink(target, place);
}

async function linkAt(place: string): Promise<string | undefined> {
  return readlink(place).catch(() => undefined); // Nothing there, or no link.
}

async function sizeAt(place: string): Promise<number | undefined> {
  return stat(place).then(
    ({ size }) => size,
    () => undefined,
  );
}

/** Whole or not at all. The lock of the repository makes the name of the new file ours. */
async function replaceFile(place: string, text: string): Promise<void> {
  if ((await readText(place)) === text) return;
  await mkdir(path.dirname(place), { recursive: true });
  await writeFile(`${place}.trireme.tmp`, text);
  await rename(`${place}.trireme.tmp`, place);
}

/** The form in which huggingface_hub keeps it. */
const listingSchema = z.object({
  format_version: z.literal(1),
  files: z.record(z.string(), z.looseObject({ size: z.number() })),
});

function listingOf(files: readonly HubFile[]): z.input<typeof listingSchema> {
  const entries = files.map(({ path: name, bytes, digest, listed }) => {
    const large = digest.algorithm === 'sha256' ? { lfs_sha256: digest.hex, lfs_size: bytes } : {};
    const xet = listed.xetHash === undefined ? {} : { xet_hash: listed.xetHash };
    return [name, { size: bytes, blob_id: listed.gitOid, ...large, ...xet }] as const;
  });
  return { format_version: 1, files: Object.fromEntries(entries) };
}

/** Names and sizes of all files of a commit, if anybody has noted them. */
export async function readListing(
  layout: CacheLayout,
  commit: string,
): Promise<{ path: string; bytes: number }[] | undefined> {
  const text = await readText(layout.listing(commit));
  if (text === undefined) return undefined;
  try {
    const { files } = listingSchema.parse(JSON.parse(text));
    return Object.entries(files).map(([name, { size }]) => ({ path: name, bytes: size }));
  } catch {
    return undefined; // Of a later form, or damaged: as if it had not been noted.
  }
}

/** The commit that a revision was when it was last pulled. */
export async function readRef(layout: CacheLayout, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const commit = (await readText(layout.ref(revision)))?.trim();
  return commit !== undefined && isCommit(commit) ? commit : undefined;
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (isMissing(cause) || (cause as NodeJS.ErrnoException).code === 'EISDIR') return undefined;
    throw cause;
  }
}
