/**
 * A package comes into being in a hidden folder beside its place and is moved there when whole, so that a folder under
 * the package's name is always complete. What a killed run left is removed by the next run for the same place.
 */
import { readFileSync } from 'node:fs';
import { mkdir, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { asIoError, isMissing, isOccupied } from '#platform/io-error.ts';
import { readPlainFile } from '#platform/plain-file.ts';
import { systemRandom } from '#platform/random.ts';

/** How often somebody else may put a package in the place just as it was cleared. */
const publishAttempts = 5;

/** Start time of a process in ticks since boot: with the number it names a process once and for all. */
function startOf(pid: number | 'self'): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 22, counted after the command's name, which may hold anything.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    // No such process, or no /proc: both mean that nobody can be shown to be at work.
    return undefined;
  }
}

function prefixFor(place: string): string {
  return `.${path.basename(place)}.slicing-`;
}

function isAbandoned(name: string, prefix: string): boolean {
  const [pid, start] = name.slice(prefix.length).split('-');
  return startOf(Number(pid)) !== start;
}

export class Staging {
  /** The package's final folder. */
  readonly place: string;
  /** Where to write it. */
  readonly folder: string;

  private constructor(place: string, folder: string) {
    this.place = place;
    this.folder = folder;
  }

  /**
   * Clears leftovers and makes the folder. Errors: INVALID_ARGUMENT when something other than a package or an empty folder
   * is at `place`; DISK_FULL, IO_ERROR.
   */
  static async begin(place: string): Promise<Staging> {
    const target = await followLinks(place);
    const parent = path.dirname(target);
    const prefix = prefixFor(target);
    try {
      await refuseForeignFolder(target);
      await mkdir(parent, { recursive: true });
      const siblings = (await readdir(parent)).filter((name) => name.startsWith(prefix));
      for (const name of siblings.filter((sibling) => isAbandoned(sibling, prefix))) {
        await rm(path.join(parent, name), { recursive: true, force: true });
      }
      const folder = path.join(parent, `${prefix}${process.pid}-${startOf('self') ?? 0}-${systemRandom.id()}`);
      await mkdir(folder);
      return new Staging(target, folder);
    } catch (cause) {
      throw asIoError(cause, `prepare ${place}`);
    }
  }

  /** Puts the folder in its place, instead of a package that is there. Errors: IO_ERROR. */
  async publish(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#replace();
        return;
      } catch (cause) {
        if (!isOccupied(cause) || attempt === publishAttempts) {
          throw asIoError(cause, `move the package to ${this.place}`);
        }
      }
    }
  }

  /** Only a full folder must be moved first; it goes to a name that the next run would remove. */
  async #replace(): Promise<void> {
    const replaced = `${this.folder}-replaced`;
    await rename(this.place, replaced).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cause;
    });
    try {
      await rename(this.folder, this.place);
    } catch (cause) {
      // Back to where it was, unless somebody else has taken the place.
      await rename(replaced, this.place).catch(() => undefined);
      throw cause;
    } finally {
      await rm(replaced, { recursive: true, force: true });
    }
  }

  /** Never fails: what cannot be removed now is removed by the next run. */
  async discard(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Behind a link to a folder, the folder: the package belongs on the disk that the link chose. */
async function followLinks(place: string): Promise<string> {
  return realpath(place).catch(() => path.resolve(place));
}

async function refuseForeignFolder(place: string): Promise<void> {
  const stats = await stat(place).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
  });
  if (!stats) return;
  const entries = stats.isDirectory() ? await readdir(place) : [];
  if (stats.isDirectory() && (entries.length === 0 || (await holdsPackage(place)))) return;
  const what = stats.isDirectory() ? 'is not empty and holds no package' : 'is no folder';
  throw new TriremeError('INVALID_ARGUMENT', `${place} ${what}`, {
    remedy: 'Name a new folder, or one that holds a package to replace',
  });
}

/** Other programs call files manifest.json too, and what is replaced is deleted. */
async function holdsPackage(folder: string): Promise<boolean> {
  const bytes = await readPlainFile(path.join(folder, 'manifest.json'));
  if (!bytes) return false;
  try {
    const manifest = JSON.parse(new TextDecoder().decode(bytes)) as { tool?: { name?: unknown } } | null;
    return manifest?.tool?.name === 'trireme';
  } catch {
    // Not JSON, so nothing that a slicing has finished.
    return false;
  }
}
