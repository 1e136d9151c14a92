/** Makes a spoilt package look whole: writes the digests that its files have now into the manifest. */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Manifest } from '../../workers/models/manifest.ts';

export async function redigest(folder: string, names: readonly string[]): Promise<void> {
  const file = path.join(folder, 'manifest.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as Manifest;
  const files = await Promise.all(
    manifest.files.map(async (entry) => {
      if (!names.includes(entry.path)) return entry;
      const bytes = await readFile(path.join(folder, entry.path));
      return { ...entry, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    }),
  );
  await writeFile(file, JSON.stringify({ ...manifest, files }));
}
