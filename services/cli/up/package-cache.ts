/** Packages that `up` makes for itself, in .trireme/packages of the working folder: sliced once, used again while nothing changed. */
import { createHash } from 'node:crypto';
import { access, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { manifestFormat, type WeightFormat } from '../../../workers/models/manifest.ts';
import { type FileSet, fileSetOf, isGgufName } from '../../../workers/slicer/gguf/file-set.ts';
import { slice } from '../../../workers/slicer/slice.ts';
import type { Terminal } from '../terminal.ts';

export interface CachedPackage {
  readonly model: string;
  readonly ranks: number;
  readonly weights: WeightFormat;
}

/** The folder of a package of the checkpoint as it is now. Errors: those of slice(). */
export async function cachedPackage(wanted: CachedPackage, terminal: Terminal, signal: AbortSignal): Promise<string> {
  const { name } = await filesOf(wanted.model);
  const fingerprint = await fingerprintOf(wanted.model);
  const folder = path.resolve('.trireme', 'packages', `${name}-${wanted.weights}-${wanted.ranks}-${fingerprint}`);
  if (await exists(path.join(folder, 'manifest.json'))) return folder;
  terminal.note(`slicing ${wanted.model} for ${wanted.ranks} ranks in ${wanted.weights} ...`);
  const bar = terminal.progress();
  try {
    const onProgress = (report: { doneBytes: number; totalBytes: number }): void =>
      bar.update('slicing', report.doneBytes, report.totalBytes);
    await slice({ ...wanted, out: folder, signal, onProgress });
  } finally {
    bar.end();
  }
  return folder;
}

/**
 * Names, sizes and times of the checkpoint's files: reading them all again at every start would take minutes for a large one. A package
 * in a form of the past is not used again.
 */
async function fingerprintOf(model: string): Promise<string> {
  const hash = createHash('sha256').update(`${manifestFormat} ${path.resolve(model)}`);
  const { folder, files } = await filesOf(model);
  for (const file of files) {
    // What cannot be looked at now is refused when it is read.
    const facts = await stat(path.join(folder, file)).catch(() => undefined);
    hash.update(JSON.stringify([file, facts?.size, facts?.mtimeMs]));
  }
  return hash.digest('hex').slice(0, 12);
}

/** Of a folder all, sorted; of a GGUF file its parts. */
async function filesOf(model: string): Promise<FileSet> {
  const names = await readdir(model).catch(() => undefined);
  if (names === undefined && isGgufName(model)) return fileSetOf(model);
  return { folder: model, files: (names ?? []).sort(), name: path.basename(path.resolve(model)) };
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
