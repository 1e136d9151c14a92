/** What a person may write for a model of the Hub: ORG/NAME, ORG/NAME@REVISION, hf://ORG/NAME@REVISION. */
import { TriremeError } from '#platform/errors.ts';

export interface ModelReference {
  /** ORG/NAME */
  readonly repo: string;
  /** Branch, tag, commit, or refs/pr/N. */
  readonly revision: string;
  /** Written with hf://, so it cannot be meant as a path. */
  readonly isExplicit: boolean;
}

const scheme = 'hf://';
const defaultRevision = 'main';
/** The Hub's own rule for one half of a name. */
const namePattern = /^[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?$/;
const maxRepoLength = 96;
/** What git allows in a reference is wider, but this covers branches, tags, commits and pull requests of the Hub. */
const revisionPattern = /^[A-Za-z0-9_][A-Za-z0-9._+-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$/;
const maxRevisionLength = 200;
const commitPattern = /^[0-9a-f]{40}$/;

/** Undefined when the text is something else, a path for one. */
export function parseModelReference(text: string): ModelReference | undefined {
  const isExplicit = text.startsWith(scheme);
  const [repo = '', revision = defaultRevision, ...rest] = text.slice(isExplicit ? scheme.length : 0).split('@');
  if (rest.length > 0 || !isRepo(repo) || !isRevision(revision)) return undefined;
  return { repo, revision, isExplicit };
}

/** Errors: INVALID_ARGUMENT. */
export function requireModelReference(text: string): ModelReference {
  const reference = parseModelReference(text);
  if (reference) return reference;
  throw new TriremeError('INVALID_ARGUMENT', `${JSON.stringify(text)} does not name a model of the Hub`, {
    remedy: 'Write ORG/NAME or ORG/NAME@REVISION, such as Qwen/Qwen3-30B-A3B@main',
  });
}

/** A full commit: what a revision is pinned to. */
export function isCommit(text: string): boolean {
  return commitPattern.test(text);
}

function isRepo(text: string): boolean {
  const halves = text.split('/');
  return (
    halves.length === 2 &&
    text.length <= maxRepoLength &&
    halves.every((half) => namePattern.test(half)) &&
    // `--` divides names in the cache's folders; the Hub refuses these as well.
    !/--|\.\.|\.git$/.test(text)
  );
}

/** Becomes part of a path under refs/, so no piece of it may climb. */
function isRevision(text: string): boolean {
  return text.length <= maxRevisionLength && revisionPattern.test(text) && !text.includes('..');
}
