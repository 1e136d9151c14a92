/** Where a checkpoint comes from, as far as its folder tells. */
import path from 'node:path';
import { readPlainFile } from '#platform/plain-file.ts';

export interface Source {
  /** What to call the model. */
  readonly name: string;
  /** ORG/NAME, else the folder's name. */
  readonly source: string;
  readonly revision: string | null;
  readonly licence: string | null;
}

/** The Hugging Face cache says it in the path: models--ORG--NAME/snapshots/REVISION. */
export async function describeSource(folder: string): Promise<Source> {
  const absolute = path.resolve(folder);
  const cached = /(?:^|[/])models--([^/]+)[/]snapshots[/]([^/]+)$/.exec(absolute);
  const source = cached?.[1]?.replace('--', '/') ?? path.basename(absolute);
  return { name: path.basename(source), source, revision: cached?.[2] ?? null, licence: await readLicence(absolute) };
}

/** `license:` in the front matter of README.md. */
async function readLicence(folder: string): Promise<string | null> {
  // A file that cannot be read tells nothing, which is no reason to refuse the model.
  const readme = await readPlainFile(path.join(folder, 'README.md')).catch(() => undefined);
  const text = new TextDecoder().decode(readme);
  const frontMatter = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1] ?? '';
  return /^license:\s*(\S+)\s*$/m.exec(frontMatter)?.[1] ?? null;
}
