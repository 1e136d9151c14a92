/** Is this the package that the placement means? The manifest's digest vouches for the manifest, and that for every file. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TriremeError } from '#platform/errors.ts';

/** SHA-256 (hex) of the folder's manifest.json. Errors: NOT_A_PACKAGE when there is none. */
export async function packageDigest(folder: string): Promise<string> {
  const path = join(folder, 'manifest.json');
  const manifest = await readFile(path).catch((cause) => {
    throw new TriremeError('NOT_A_PACKAGE', `cannot read ${path}: ${cause.message}`, {
      remedy: 'Name a folder that `trireme slice` has written; workers must see it under the same path',
      cause,
    });
  });
  return createHash('sha256').update(manifest).digest('hex');
}

/**
 * Compares the SHA-256 (hex) of the folder's manifest.json with the digest in the placement. Errors: NOT_A_PACKAGE when there
 * is none, DIGEST_MISMATCH.
 */
export async function checkPackageDigest(folder: string, expected: string): Promise<void> {
  const found = await packageDigest(folder);
  if (found === expected) return;
  throw new TriremeError(
    'DIGEST_MISMATCH',
    `the manifest of ${folder} has SHA-256 ${found}, the placement says ${expected}`,
    {
      remedy: 'Copy the package again, or register the model again if it was sliced anew',
    },
  );
}
