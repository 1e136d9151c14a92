/**
 * A package comes into being in a hidden folder beside its place and is moved there when whole, so that a folder under the package's name is
 * always complete. The hidden folder is locked while somebody works there; what a killed run left in it is found by the next run.
 */
import { type FileHandle, mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { tryLock } from '#platform/file-lock.ts';
import { asIoError, isMissing, isOccupied } from '#platform/io-error.ts';
import { readPlainFile } from '#platform/plain-file.ts';

/** How often somebody else may put a package in the place just as it was cleared, or remove the hidden folder as it was locked. */
const mostAttempts = 5;

const names = { package: 'package', replaced: 'replaced' } as const;

export class Staging {
  /** The package's final folder. */
  readonly place: string;
  /** Hidden, and this one's alone: whatever helps to go on after a kill may lie here. */
  readonly folder: string;
  readonly #lock: FileHandle;

  private constructor(place: string, folder: string, lock: FileHandle) {
    this.place = place;
    this.folder = folder;
    this.#lock = lock;
  }

  /** Where to write the package. */
  get packageFolder(): string {
    return path.join(this.folder, names.package);
  }

  /**
   * Makes the hidden folder, or takes what a killed run left. Errors: INVALID_ARGUMENT when something other than a package or an empty
   * folder is at `place`; OUTPUT_BUSY when somebody else is at work there; DISK_FULL, IO_ERROR.
   */
  static async begin(place: string): Promise<Staging> {
    const target = await followLinks(place);
    try {
      await refuseForeignFolder(target);
      const folder = path.join(path.dirname(target), `.${path.basename(target)}.slicing`);
      const staging = new Staging(target, folder, await lockFolder(folder, place));
      await staging.#restore();
      return staging;
    } catch (cause) {
      throw asIoError(cause, `prepare ${place}`);
    }
  }

  /** Puts the package in its place, instead of one that is there, and ends. Errors: IO_ERROR. */
  async publish(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#replace();
        break;
      } catch (cause) {
        if (!isOccupied(cause) || attempt === mostAttempts) {
          throw asIoError(cause, `move the package to ${this.place}`);
        }
      }
    }
    await this.discard();
  }

  /** Only a full folder must be moved first. */
  async #replace(): Promise<void> {
    await rename(this.place, this.#replaced).catch((cause: unknown) => {
      if (!isMissing(cause)) throw cause;
    });
    try {
      await rename(this.packageFolder, this.place);
    } catch (cause) {
      await this.#restore();
      throw cause;
    }
  }

  get #replaced(): string {
    return path.join(this.folder, names.replaced);
  }

  /** A package that was to be replaced goes back, unless another has taken its place. */
  async #restore(): Promise<void> {
    await rename(this.#replaced, this.place).catch(() => undefined);
    await rm(this.#replaced, { recursive: true, force: true });
  }

  /** Removes everything but the place, and ends. Never fails: what cannot be removed now is found by the next run. */
  async discard(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true }).catch(() => undefined);
    await this.leave();
  }

  /** Ends, and leaves the hidden folder to the next run. */
  async leave(): Promise<void> {
    await this.#lock.close();
  }
}

/** Makes the folder, if need be, and locks it. Errors: OUTPUT_BUSY, those of the file system. */
async function lockFolder(folder: string, place: string): Promise<FileHandle> {
  for (let attempt = 1; attempt <= mostAttempts; attempt++) {
    await mkdir(path.dirname(folder), { recursive: true });
    await mkdir(folder).catch((cause: unknown) => {
      if (!isOccupied(cause)) throw cause;
    });
    const handle = await openIfThere(folder);
    if (!handle) continue;
    try {
      if (!tryLock(handle, folder, 'Choose a place on a file system with locks')) throw busy(place);
      if (await isStillAt(handle, folder)) return handle;
    } catch (cause) {
      await handle.close();
      throw cause;
    }
    // Whoever had it before has ended, and has removed it.
    await handle.close();
  }
  throw busy(place);
}

function busy(place: string): TriremeError {
  return new TriremeError('OUTPUT_BUSY', `another process is slicing into ${place}`, {
    remedy: 'Wait until it has ended, or name another place',
  });
}

async function openIfThere(folder: string): Promise<FileHandle | undefined> {
  return open(folder).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    return undefined;
  });
}

async function isStillAt(handle: FileHandle, folder: string): Promise<boolean> {
  const [held, there] = await Promise.all([handle.stat(), stat(folder).catch(() => undefined)]);
  return held.ino === there?.ino && held.dev === there.dev;
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
