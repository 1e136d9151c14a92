/** A package folder before anything of it is believed: its manifest, and whether the files are those that it names. */
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import { readPlainFileSync } from '#platform/plain-file.ts';
import { parseStrictJson } from '#platform/strict-json.ts';
import type { FileDigest, Manifest, ShardManifest } from '../models/manifest.ts';
import { parseManifest } from '../models/manifest-schema.ts';

const resliceRemedy = 'Copy the package again, or slice the checkpoint again';
/** Read and hashed in one go. */
const chunkBytes = 1 << 20;

export const rankFiles = {
  graphs: (rank: number) => `rank-${rank}/graphs.bin`,
  weights: (rank: number) => `rank-${rank}/weights.bin`,
} as const;

/** Errors: NOT_A_PACKAGE; UNKNOWN_FAMILY; IO_ERROR. */
export function readManifest(folder: string): Manifest {
  const file = path.join(folder, 'manifest.json');
  const bytes = readPlainFileSync(file);
  if (!bytes) {
    throw new TriremeError('NOT_A_PACKAGE', `${folder} has no manifest.json`, {
      remedy: 'Name a folder that `trireme slice` has written',
    });
  }
  return parseManifest(parseJson(file, bytes));
}

function parseJson(file: string, bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (cause) {
    throw new TriremeError('NOT_A_PACKAGE', `${file} is malformed: ${(cause as Error).message}`, {
      remedy: resliceRemedy,
      cause,
    });
  }
}

/** Errors: NOT_A_PACKAGE when the package was not sliced for this many ranks. */
export function shardFor(manifest: Manifest, rank: number, ranks: number): ShardManifest {
  const shard = manifest.shards[rank];
  if (shard && manifest.shards.length === ranks) return shard;
  const message = `the package ${manifest.name} is sliced for ${manifest.shards.length} ranks, not for ${ranks}`;
  throw new TriremeError('NOT_A_PACKAGE', message, { remedy: `Slice the checkpoint with --ranks ${ranks}` });
}

export interface VerifyOptions {
  readonly folder: string;
  readonly manifest: Manifest;
  /** Whose files. */
  readonly ranks: readonly number[];
  /** In bytes. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/**
 * Compares the files of some ranks, and those of no rank, with the manifest's sizes and SHA-256 sums, reading them once, a megabyte at
 * a time.
 * Errors: NOT_A_PACKAGE, TRUNCATED_FILE, DIGEST_MISMATCH, IO_ERROR; the signal's reason.
 */
export async function verifyRankFiles(options: VerifyOptions): Promise<void> {
  const { folder, manifest, ranks } = options;
  refuseForeignRanks(folder, manifest);
  const shared = manifest.files.filter(({ path: name }) => !name.startsWith('rank-'));
  const names = ranks.flatMap((rank) => [rankFiles.graphs(rank), rankFiles.weights(rank)]);
  const digests = [...shared, ...names.map((name) => digestOf(manifest, name))];
  for (const digest of digests) checkSize(folder, digest);
  const total = digests.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const digest of digests) {
    await checkDigest(folder, digest, options.signal, (bytes) => {
      done += bytes;
      options.onProgress?.(done, total);
    });
  }
}

/**
 * A rank that the manifest does not know is what remains when one package is copied over another. Errors: NOT_A_PACKAGE, IO_ERROR.
 */
export function refuseForeignRanks(folder: string, { shards }: Manifest): void {
  const isForeign = (name: string): boolean => /^rank-\d+$/.test(name) && Number(name.slice(5)) >= shards.length;
  const foreign = entriesOf(folder).find(isForeign);
  if (foreign === undefined) return;
  throw new TriremeError('NOT_A_PACKAGE', `${folder} holds ${foreign}, its manifest knows ${shards.length} ranks`, {
    remedy: 'Copy the package again, into an empty folder',
  });
}

function entriesOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    throw asIoError(cause, `read ${folder}`);
  }
}

function digestOf(manifest: Manifest, name: string): FileDigest {
  const digest = manifest.files.find((file) => file.path === name);
  if (!digest) {
    throw new TriremeError('NOT_A_PACKAGE', `the manifest does not list ${name}`, { remedy: resliceRemedy });
  }
  return digest;
}

function checkSize(folder: string, digest: FileDigest): void {
  const file = path.join(folder, digest.path);
  const bytes = sizeOf(file);
  if (bytes === digest.bytes) return;
  const expected = `the manifest says ${digest.bytes} bytes`;
  if (bytes === undefined) {
    throw new TriremeError('NOT_A_PACKAGE', `${file} is missing, ${expected}`, { remedy: resliceRemedy });
  }
  const code = bytes < digest.bytes ? 'TRUNCATED_FILE' : 'DIGEST_MISMATCH';
  throw new TriremeError(code, `${file} has ${bytes} bytes, ${expected}`, { remedy: resliceRemedy });
}

/** Undefined when there is no such file. */
function sizeOf(file: string): number | undefined {
  try {
    return statSync(file, { throwIfNoEntry: false })?.size;
  } catch (cause) {
    throw asIoError(cause, `read ${file}`);
  }
}

async function checkDigest(
  folder: string,
  digest: FileDigest,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const file = path.join(folder, digest.path);
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: chunkBytes })) {
      signal?.throwIfAborted();
      hash.update(chunk);
      onBytes(chunk.length);
    }
  } catch (cause) {
    throw asIoError(cause, `read ${file}`);
  }
  const sha256 = hash.digest('hex');
  if (sha256 === digest.sha256) return;
  throw new TriremeError('DIGEST_MISMATCH', `${file} has SHA-256 ${sha256}, the manifest says ${digest.sha256}`, {
    remedy: resliceRemedy,
  });
}
