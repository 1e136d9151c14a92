/**
 * What the Hub says about a model: the adapter around @huggingface/hub, which knows the addresses and the paging. Everything it
 * returns is unchecked JSON, and becomes checked records here. Downloads are not its business: see remote-file.ts.
 */
import { listFiles, modelInfo } from '@huggingface/hub';
import { z } from 'zod';
import { TriremeError } from '#platform/errors.ts';
import type { HubFile } from './hub-file.ts';
import type { HubHttp } from './hub-http.ts';
import type { ModelReference } from './model-reference.ts';
import type { Subject } from './refusal.ts';
import { requireSafePath } from './repo-path.ts';

export interface ModelDescription {
  /** What the revision was at this moment. */
  readonly commit: string;
  /** As its authors name it; undefined when they do not. */
  readonly licence: string | undefined;
  /** Whether its owner decides who may load it, and how: at once after a form, or by hand. */
  readonly gated: 'no' | 'auto' | 'manual';
  readonly isPrivate: boolean;
}

const commitSchema = z.string().regex(/^[0-9a-f]{40}$/);

const descriptionSchema = z.object({
  sha: commitSchema,
  gated: z.union([z.literal(false), z.enum(['auto', 'manual'])]).default(false),
  private: z.boolean().default(false),
  tags: z.array(z.string()).default([]),
  cardData: z
    .object({
      license: z.union([z.string(), z.array(z.string())]).nullish(),
      license_name: z.string().nullish(),
    })
    .nullish(),
});

const entrySchema = z.object({
  type: z.string(),
  path: z.string(),
  size: z.int().nonnegative(),
  oid: commitSchema,
  lfs: z.object({ oid: z.string().regex(/^(sha256:)?[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
  xetHash: z.string().optional(),
});

/** The largest repositories have some ten thousand. */
const maxFiles = 100_000;

/** Errors: those of refusal.ts, HUB_PROTOCOL. */
export async function describeModel(
  http: HubHttp,
  { repo, revision }: ModelReference,
  signal: AbortSignal,
): Promise<ModelDescription> {
  const subject = { repo, revision, ...http.asker };
  const answer = await understood(subject, async () =>
    descriptionSchema.parse(
      await modelInfo({
        name: repo,
        revision,
        additionalFields: ['sha', 'cardData', 'tags'],
        hubUrl: http.settings.endpoint,
        fetch: fetchFor(http, subject, signal),
      }),
    ),
  );
  return {
    commit: answer.sha,
    licence: licenceOf(answer),
    gated: answer.gated || 'no',
    isPrivate: answer.private,
  };
}

/** Every file of the commit, in the order of their paths. Errors: those of refusal.ts, HUB_PROTOCOL, UNSAFE_FILE_NAME. */
export async function listModelFiles(
  http: HubHttp,
  repo: string,
  commit: string,
  signal: AbortSignal,
): Promise<HubFile[]> {
  const subject = { repo, revision: commit, ...http.asker };
  const files = new Map<string, HubFile>();
  await understood(subject, async () => {
    const hubUrl = http.settings.endpoint;
    const entries = listFiles({
      repo,
      revision: commit,
      recursive: true,
      hubUrl,
      fetch: fetchFor(http, subject, signal),
    });
    for await (const entry of entries) {
      const { type, path, size, oid, lfs, xetHash } = entrySchema.parse(entry);
      if (type !== 'file') continue;
      requireSafePath(path, repo);
      if (files.has(path) || files.size === maxFiles) throw new Error(`${path} is one file too many`);
      files.set(path, {
        path,
        bytes: lfs?.size ?? size,
        digest: lfs
          ? { algorithm: 'sha256', hex: lfs.oid.replace(/^sha256:/, '') }
          : { algorithm: 'git-sha1', hex: oid },
        listed: { gitOid: oid, xetHash },
      });
    }
  });
  return [...files.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** The library's requests go through ours, which knows the token, the redirects and the patience. */
function fetchFor(http: HubHttp, subject: Subject, signal: AbortSignal): typeof fetch {
  return async (input) => http.readDocument(String(input), subject, signal);
}

/** What is neither an operating error nor a reason to try again is an answer that makes no sense. */
async function understood<T>({ endpoint, repo }: Subject, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof TriremeError) throw cause;
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new TriremeError('HUB_PROTOCOL', `${endpoint} answered nonsense about ${repo}: ${reason.slice(0, 300)}`, {
      remedy: 'Check HF_ENDPOINT, and whether a proxy answers in its place',
      cause,
    });
  }
}

function licenceOf({ cardData, tags }: z.infer<typeof descriptionSchema>): string | undefined {
  const { license, license_name: ownName } = cardData ?? {};
  const named = Array.isArray(license) ? license.join(', ') : license;
  if (named === 'other' && ownName) return ownName;
  const prefix = 'license:';
  return named || tags.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}
