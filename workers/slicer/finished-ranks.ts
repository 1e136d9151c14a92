/**
 * Ranks of a coming package that are whole, each with a record of its digests. A run that was killed is followed by one that takes these
 * over, if they are made of the same checkpoint in the same way; a record alone is not believed.
 */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readPlainFile } from '#platform/plain-file.ts';
import type { FileDigest } from '../models/manifest.ts';
import { digestFile } from './digest.ts';
import { rankFiles, rankFolder } from './rank-writer.ts';
import type { Staging } from './staging.ts';

/** What the ranks are made of. */
const originFile = 'origin.json';

export class FinishedRanks {
  readonly #folder: string;
  readonly #packageFolder: string;
  /** Names of records, which may yet turn out not to be true. */
  readonly #records: Set<string>;

  private constructor({ folder, packageFolder }: Staging, records: Iterable<string>) {
    this.#folder = folder;
    this.#packageFolder = packageFolder;
    this.#records = new Set(records);
  }

  /** Clears whatever was not made of `origin`. Errors: those of the file system. */
  static async open(staging: Staging, origin: string): Promise<FinishedRanks> {
    const { folder, packageFolder } = staging;
    const known = await readPlainFile(path.join(folder, originFile));
    if (known === undefined || new TextDecoder().decode(known) !== origin) {
      // The origin goes first: what is left when this is interrupted has none.
      for (const name of [originFile, ...(await readdir(folder))]) await remove(path.join(folder, name));
      await writeFile(path.join(folder, originFile), origin);
    }
    await mkdir(packageFolder, { recursive: true });
    for (const name of await readdir(packageFolder)) {
      if (!name.startsWith('rank-')) await remove(path.join(packageFolder, name));
    }
    return new FinishedRanks(
      staging,
      (await readdir(folder)).filter((name) => /^rank-\d+[.]json$/.test(name)),
    );
  }

  get isEmpty(): boolean {
    return this.#records.size === 0;
  }

  /** Digests of the rank's files when they are whole; otherwise the rank is removed. Errors: IO_ERROR; what `onRead` throws. */
  async find(rank: number, onRead: (bytes: number) => void): Promise<readonly FileDigest[] | undefined> {
    const record = await this.#readRecord(rank);
    const digests = record === undefined ? undefined : await this.#digestsOf(rank, onRead);
    if (digests && isDeepStrictEqual(record, digests)) return digests;
    await this.remove(rank);
    return undefined;
  }

  /** For a rank whose files are written. */
  async add(rank: number, digests: readonly FileDigest[]): Promise<void> {
    const record = recordOf(rank);
    await writeFile(path.join(this.#folder, record), JSON.stringify(digests));
    this.#records.add(record);
  }

  /** The record goes first, so that none is without its rank. */
  async remove(rank: number): Promise<void> {
    const record = recordOf(rank);
    await remove(path.join(this.#folder, record));
    this.#records.delete(record);
    await remove(path.join(this.#packageFolder, rankFolder(rank)));
  }

  async #readRecord(rank: number): Promise<unknown> {
    const bytes = await readPlainFile(path.join(this.#folder, recordOf(rank)));
    try {
      return bytes && JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      // The run was killed as it wrote it.
      return undefined;
    }
  }

  /** undefined when one is missing. */
  async #digestsOf(rank: number, onRead: (bytes: number) => void): Promise<FileDigest[] | undefined> {
    const there = await readdir(path.join(this.#packageFolder, rankFolder(rank))).catch((): string[] => []);
    const { graphs, weights } = rankFiles(rank);
    const files = [graphs, weights];
    if (!files.every((file) => there.includes(path.basename(file)))) return undefined;
    const digests: FileDigest[] = [];
    for (const file of files) digests.push(await digestFile(this.#packageFolder, file, onRead));
    return digests;
  }
}

function recordOf(rank: number): string {
  return `${rankFolder(rank)}.json`;
}

async function remove(place: string): Promise<void> {
  await rm(place, { recursive: true, force: true });
}
