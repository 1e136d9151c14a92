/** Which files of a repository are pulled. */
import { TriremeError } from '#platform/errors.ts';
import { matchesGlob } from './glob.ts';

export interface NamedFile {
  readonly path: string;
}

/** Weights, configuration, tokenizer, templates. What lies in a folder is something else: another format, a demo. */
const needed: readonly RegExp[] = [
  /^[^/]+\.safetensors$/,
  /^[^/]+\.json$/,
  /^[^/]+\.jinja$/,
  /^[^/]+\.(model|tiktoken)$/,
  /^(vocab|merges)\.txt$/,
  /^additional_chat_templates\/[^/]+\.jinja$/,
];

/** Under which terms the weights may be used; README.md names the licence in its head. */
const terms = /^(README\.md|(LICEN[CS]E|NOTICE|COPYING|USE_POLICY)[^/]*)$/i;

/** The same weights once more, as their authors' own loader wants them. */
const duplicates = /^consolidated[^/]*\.safetensors$/;

/** A model cannot be sliced or served without these. */
export function isNeeded({ path }: NamedFile): boolean {
  return needed.some((pattern) => pattern.test(path)) && !duplicates.test(path);
}

/**
 * Files that match one of the patterns; without patterns, what slicing needs and the terms of use. Errors:
 * HUB_FILE_NOT_FOUND when a pattern matches nothing.
 */
export function selectFiles<File extends NamedFile>(files: readonly File[], include: readonly string[]): File[] {
  if (include.length === 0) return files.filter((file) => isNeeded(file) || terms.test(file.path));
  for (const pattern of include) {
    if (files.some(({ path }) => matchesGlob(path, pattern))) continue;
    throw new TriremeError('HUB_FILE_NOT_FOUND', `--include ${pattern} matches no file`, {
      remedy: `There are ${summary(files)}`,
    });
  }
  return files.filter(({ path }) => include.some((pattern) => matchesGlob(path, pattern)));
}

const maxNamesShown = 20;

function summary(files: readonly NamedFile[]): string {
  const names = files.slice(0, maxNamesShown).map(({ path }) => path);
  const others = files.length - names.length;
  return names.length === 0 ? 'none' : `${names.join(', ')}${others > 0 ? ` and ${others} more` : ''}`;
}
