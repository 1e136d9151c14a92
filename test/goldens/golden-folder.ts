/**
 * A folder of goldens: NAME.json and quantized/NAME.json, each beside a checkpoint folder or with the recipe of one. README.md has the
 * layout.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '../../services/platform/errors.ts';
import { parseGolden } from '../../workers/verify/golden.ts';
import { buildCheckpoint, type GoldenRecipe, recipeOf } from './build-checkpoint.ts';

const root = path.join(import.meta.dirname, '..', '..');
const quantisedFolder = 'quantized';

export interface GoldenFile {
  /** Below the folder, without its ending. */
  readonly name: string;
  readonly file: string;
}

/** In name order; all when none is named. Errors: INVALID_ARGUMENT for a folder without goldens, or a name that is not there. */
export async function goldensIn(folder: string, only: readonly string[]): Promise<readonly GoldenFile[]> {
  const names = [...(await namesIn(folder)), ...(await namesIn(path.join(folder, quantisedFolder), quantisedFolder))];
  if (names.length === 0) throw unusable(`there are no golden files in ${folder}`, 'Name a folder like test/goldens');
  const lost = only.find((name) => !names.some((known) => isNamed(known, name)));
  if (lost !== undefined) throw unusable(`${folder} has no golden ${lost}`, `Known: ${names.join(', ')}`);
  const wanted = names.filter((name) => only.length === 0 || only.some((one) => isNamed(name, one)));
  return wanted.sort().map((name) => ({ name, file: path.join(folder, `${name}.json`) }));
}

async function namesIn(folder: string, prefix = ''): Promise<string[]> {
  const files = existsSync(folder) ? await readdir(folder) : [];
  return files.filter((file) => file.endsWith('.json')).map((file) => path.join(prefix, file.slice(0, -5)));
}

function isNamed(name: string, wanted: string): boolean {
  return name === wanted || path.basename(name) === wanted;
}

function unusable(message: string, remedy: string, cause?: unknown): TriremeError {
  return new TriremeError('INVALID_ARGUMENT', message, { remedy, cause });
}

interface Contents extends Partial<GoldenRecipe> {
  /** Its checkpoint's folder, where that has another name. */
  readonly checkpoint?: string;
}

/** Errors: INVALID_ARGUMENT for a file that is no golden. */
async function readContents({ file }: GoldenFile): Promise<Contents> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
    JSON.parse(text);
  } catch (cause) {
    throw unusable(`${file} cannot be read: ${(cause as Error).message}`, 'Fetch the file again', cause);
  }
  parseGolden(text, file);
  return JSON.parse(text);
}

/** Whether its weights are quantised: those are files, no recipe gives them. A file that cannot be read goes by its folder. */
export async function isQuantised(golden: GoldenFile): Promise<boolean> {
  const isInFolder = path.dirname(golden.file).endsWith(quantisedFolder);
  const config = await readContents(golden).then(
    (contents) => contents.config ?? {},
    () => ({}),
  );
  return isInFolder || 'quantization_config' in config || 'compression_config' in config;
}

/**
 * The checkpoint of a golden: the folder beside it, that of a model beside the folder of goldens, or one that is built from the recipe
 * below `scratch`. Errors: INVALID_ARGUMENT for a file that is no golden, has no checkpoint, or whose recipe gives other tensors.
 */
export async function checkpointOf(golden: GoldenFile, scratch: string): Promise<string> {
  const contents = await readContents(golden);
  const name = contents.checkpoint ?? path.basename(golden.name);
  const folder = path.dirname(golden.file);
  const beside = [path.join(folder, name), path.join(folder, '..', 'models', name), path.join(root, 'models', name)];
  const found = beside.find((place) => existsSync(path.join(place, 'config.json')));
  if (found !== undefined) return found;
  if (contents.seed === undefined || (await isQuantised(golden))) {
    throw unusable(`${golden.file} has no recipe, and ${beside[0]} is not there`, 'Put the checkpoint beside the golden');
  }
  const built = path.join(scratch, golden.name);
  const different = await buildCheckpoint(recipeOf(contents, golden.file), built);
  if (different.length === 0) return built;
  throw unusable(
    `${golden.file}: ${different.length} tensors are not what their digests say, ${different[0]} first`,
    'Fetch the file again; seed, config and tensors belong together',
  );
}
