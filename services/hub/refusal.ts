/** What an answer that is no success means. https://huggingface.co/docs/hub/api */
import { TriremeError } from '#platform/errors.ts';
import { TransientFailure } from './retries.ts';

/** What was asked for, in the words of an error. */
export interface Subject {
  readonly repo: string;
  readonly revision: string;
  /** Left out when the question is about the repository. */
  readonly file?: string;
  readonly endpoint: string;
  readonly hasToken: boolean;
}

/** The error to throw for an answer of the Hub itself; a TransientFailure where another try may help. */
export function refusalOf({ status, headers }: Response, subject: Subject): TriremeError | TransientFailure {
  const { repo, endpoint, hasToken } = subject;
  const page = `${endpoint}/${repo}`;
  const code = headers.get('x-error-code');
  if (code === 'GatedRepo') {
    const remedy = hasToken
      ? `Ask for access at ${page} with the account that the token belongs to`
      : `Ask for access at ${page}, then set HF_TOKEN`;
    return new TriremeError('HUB_GATED', `${repo} is gated: its owner decides who may load it`, { remedy });
  }
  switch (status) {
    case 401:
      return unauthorized(subject);
    case 403:
      return new TriremeError('HUB_FORBIDDEN', `the Hub forbids ${repo}: ${messageIn(headers)}`, {
        remedy: `See ${page}; a fine-grained token needs read access to this repository`,
      });
    case 404:
      return notFound(code, subject);
    case 429:
      return new TransientFailure(
        new TriremeError('HUB_RATE_LIMITED', `the Hub has had too many requests${hasToken ? '' : ' without a token'}`),
        retryAfterMs(headers),
      );
    default:
      return otherStatus(status, headers, `${subject.file ?? repo}`);
  }
}

/** The error for an answer of a storage host that the Hub named. Its links expire, so that a refusal may be mended. */
export function storageRefusalOf(
  { status, headers }: Response,
  { file, repo }: Subject,
): TriremeError | TransientFailure {
  const error = new TriremeError('HUB_UNAVAILABLE', `the storage host answered ${status} for ${file ?? repo}`);
  return status === 416 ? tooShort(file ?? repo) : new TransientFailure(error, retryAfterMs(headers));
}

function unauthorized({ repo, hasToken, endpoint }: Subject): TriremeError {
  if (hasToken) {
    return new TriremeError('HUB_UNAUTHORIZED', `the Hub does not let this token load ${repo}`, {
      remedy: `Check the name, and whether the token is valid: ${endpoint}/settings/tokens`,
    });
  }
  return new TriremeError('HUB_UNAUTHORIZED', `the Hub shows no ${repo} to somebody without a token`, {
    remedy: 'Check the name; for a private model set HF_TOKEN',
  });
}

function notFound(code: string | null, { repo, revision, file }: Subject): TriremeError {
  if (code === 'RevisionNotFound') {
    return new TriremeError('HUB_REVISION_NOT_FOUND', `${repo} has no revision ${revision}`, {
      remedy: 'Name a branch, a tag or a commit',
    });
  }
  if (code === 'EntryNotFound' || (code === null && file !== undefined)) {
    return new TriremeError('HUB_FILE_NOT_FOUND', `${repo} has no file ${file ?? ''} at ${revision}`);
  }
  return new TriremeError('HUB_REPO_NOT_FOUND', `the Hub has no model ${repo}`, {
    remedy: 'Check the name; for a private model set HF_TOKEN to a token of somebody who may read it',
  });
}

function otherStatus(status: number, headers: Headers, what: string): TriremeError | TransientFailure {
  if (status === 416) return tooShort(what);
  const message = `the Hub answered ${status} for ${what}: ${messageIn(headers)}`;
  if (status === 408 || status >= 500) {
    return new TransientFailure(new TriremeError('HUB_UNAVAILABLE', message), retryAfterMs(headers));
  }
  return new TriremeError('HUB_PROTOCOL', message, { remedy: 'Check HF_ENDPOINT' });
}

function tooShort(what: string): TriremeError {
  return new TriremeError('SIZE_MISMATCH', `${what} is shorter than the Hub lists it`);
}

/** Foreign text: printable, and not much of it. */
function messageIn(headers: Headers): string {
  return (headers.get('x-error-message') ?? 'no reason given').replace(/[^\x20-\x7e]/g, '?').slice(0, 200);
}

/** Retry-After in seconds or as a date (RFC 9110 10.2.3), else the `t` of RateLimit, which the Hub sends. */
export function retryAfterMs(headers: Headers): number | undefined {
  const text = headers.get('retry-after')?.trim();
  if (text && /^\d+$/.test(text)) return Number(text) * 1000;
  const date = text ? Date.parse(text) : Number.NaN;
  // The server's clock against itself: ours may be wrong.
  const now = Date.parse(headers.get('date') ?? '');
  if (!Number.isNaN(date) && !Number.isNaN(now)) return Math.max(0, date - now);
  const seconds = /;\s*t=(\d+)/.exec(headers.get('ratelimit') ?? '')?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}
