/** Where a checkpoint comes from, as far as its folder tells. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Provenance, WeightFormat } from '../models/manifest.ts';

const quantisations: Readonly<Record<WeightFormat, string>> = {
  native: 'none: weights as the checkpoint has them, widened to float32',
  fp32: 'none: float32',
  int8: 'int8 symmetric, block 32, round to nearest; router, norms and embeddings float',
  int4: 'int4 symmetric, block 32, round to nearest; router, norms and embeddings float',
};

export interface Source {
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
  return { source, revision: cached?.[2] ?? null, licence: await readLicence(absolute) };
}

/** `license:` in the front matter of README.md. */
async function readLicence(folder: string): Promise<string | null> {
  const readme = await readFile(path.join(folder, 'README.md'), 'utf8').catch(() => '');
  const frontMatter = /^---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1] ?? '';
  return /^license:\s*(\S+)\s*$/m.exec(frontMatter)?.[1] ?? null;
}

export function describeQuantisation(weights: WeightFormat): Provenance['quantisation'] {
  return quantisations[weights];
}
