/**
 * Where things lie in the cache that all tools around the Hub share.
 * https://huggingface.co/docs/hub/local-cache
 */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { ContentDigest } from './hub-file.ts';

export class CacheLayout {
  readonly cacheFolder: string;
  readonly repoFolder: string;
  readonly #lockFolder: string;

  constructor(cacheFolder: string, repo: string) {
    const name = `models--${repo.replace('/', '--')}`;
    this.cacheFolder = cacheFolder;
    this.repoFolder = path.join(cacheFolder, name);
    this.#lockFolder = path.join(cacheFolder, '.locks', name);
  }

  /** Those that blobs need. A repository without snapshots, even none, is damaged in the eyes of other tools. */
  async createFolders(): Promise<void> {
    for (const name of ['blobs', 'snapshots']) await mkdir(path.join(this.repoFolder, name), { recursive: true });
  }

  /** Whole and checked content, under the name of its digest. */
  blob({ hex }: ContentDigest): string {
    return path.join(this.repoFolder, 'blobs', hex);
  }

  /**
   * Content on its way. Tools know by the ending what it is; the middle keeps those from it that would append to ETAG.incomplete.
   */
  partial({ hex }: ContentDigest): string {
    return path.join(this.repoFolder, 'blobs', `${hex}.trireme.incomplete`);
  }

  /** One folder a commit, with links to blobs under the names that the files have in the repository. */
  snapshot(commit: string): string {
    return path.join(this.repoFolder, 'snapshots', commit);
  }

  /** Holds the commit that a branch or tag was when it was last pulled. */
  ref(revision: string): string {
    return path.join(this.repoFolder, 'refs', revision);
  }

  /** What a commit consists of, for those who cannot ask. */
  listing(commit: string): string {
    return path.join(this.repoFolder, 'trees', `${commit}.json`);
  }

  /** Locked while a blob is loaded. */
  blobLock({ hex }: ContentDigest): string {
    return path.join(this.#lockFolder, `${hex}.lock`);
  }

  /** Locked while refs, snapshots and listings change. */
  get repoLock(): string {
    return path.join(this.#lockFolder, 'trireme.lock');
  }
}
