/** A file of a repository at one commit. */

export interface HubFile {
  /** Checked: relative, with `/` between folders. */
  readonly path: string;
  readonly bytes: number;
  /** Of the whole content: SHA-256 for large files (LFS, xet), git's own for the others. */
  readonly digest: ContentDigest;
  /** What the listing said besides; other tools keep it in the cache. */
  readonly listed: ListedFile;
}

export interface ContentDigest {
  readonly algorithm: 'sha256' | 'git-sha1';
  /** Lower case. Names the file in the cache's blobs/. */
  readonly hex: string;
}

export interface ListedFile {
  /** Git's object: the content, or for a large file the pointer to it. */
  readonly gitOid: string;
  readonly xetHash: string | undefined;
}
