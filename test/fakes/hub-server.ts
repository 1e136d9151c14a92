/**
 * A Hugging Face Hub on 127.0.0.1: the questions about a model, the listing in pages, files, and a second server on another
 * port that holds the large ones, as the real one does. Faults make single answers go wrong on demand.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Answer, type Fault, type SeenRequest, sendAnswer } from './hub-answer.ts';

export interface FakeModel {
  readonly repo: string;
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** What its branches and tags are; `main` is its only commit when left out. */
  readonly revisions?: Readonly<Record<string, string>>;
  readonly gated?: false | 'auto' | 'manual';
  readonly isPrivate?: boolean;
  readonly cardData?: Readonly<Record<string, unknown>>;
  readonly tags?: readonly string[];
}

export interface HubServerOptions {
  /** Files of so many bytes and more are large: on the other server, with a SHA-256. */
  readonly largeBytes?: number;
  /** Who may load what is private or gated. */
  readonly tokens?: readonly string[];
  readonly pageSize?: number;
}

interface StoredFile {
  readonly path: string;
  readonly content: Uint8Array;
  readonly gitOid: string;
  readonly sha256: string;
  readonly isLarge: boolean;
}

export class HubServer implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  /** Looked through for every request, the first that fits is taken. */
  readonly faults: Fault[] = [];
  /** Called with the bytes of files sent so far, by all answers together. */
  onFileBytes: (total: number) => void = () => {};
  #fileBytes = 0;
  readonly #silence = Promise.withResolvers<void>();
  #asked = Promise.withResolvers<void>();
  #endpoint = '';
  #storageOrigin = '';
  readonly #models = new Map<string, FakeModel>();
  readonly #hub: Server;
  readonly #storage: Server;
  readonly #options: Required<HubServerOptions>;

  private constructor(options: HubServerOptions) {
    this.#options = { largeBytes: 1000, tokens: [], pageSize: 1000, ...options };
    this.#hub = createServer((request, response) => this.#serve(request, response, this.#answerAsHub(request)));
    this.#storage = createServer((request, response) => this.#serve(request, response, this.#answerAsStorage(request)));
  }

  static async start(models: readonly FakeModel[], options: HubServerOptions = {}): Promise<HubServer> {
    const server = new HubServer(options);
    for (const model of models) server.put(model);
    server.#endpoint = await listen(server.#hub);
    server.#storageOrigin = await listen(server.#storage);
    return server;
  }

  /** Resolves when a request has met silence. */
  untilSilent(): Promise<void> {
    return this.#silence.promise;
  }

  /** Resolves at the next request. */
  untilAsked(): Promise<void> {
    return this.#asked.promise;
  }

  /** Bytes of files sent so far, by all answers together. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  put(model: FakeModel): void {
    this.#models.set(model.repo, model);
  }

  get endpoint(): string {
    return this.#endpoint;
  }

  get storageOrigin(): string {
    return this.#storageOrigin;
  }

  /** Requests for the content of files, at either server. */
  get fileRequests(): readonly SeenRequest[] {
    return this.requests.filter(({ origin, path }) => origin === this.storageOrigin || path.includes('/resolve/'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const part of [this.#hub, this.#storage]) {
      part.closeAllConnections();
      await new Promise((resolve) => part.close(resolve));
    }
  }

  #serve(request: IncomingMessage, response: ServerResponse, honest: Answer): void {
    const seen = this.#note(request);
    const index = this.faults.findIndex(({ fits }) => fits?.(seen) ?? true);
    const fault = this.faults[index];
    if (fault && --fault.times === 0) this.faults.splice(index, 1);
    const answer = fault?.change(honest, seen) ?? honest;
    if (answer.isSilent) return this.#silence.resolve();
    void sendAnswer(request, response, answer, (bytes) => {
      this.#fileBytes += bytes;
      this.onFileBytes(this.#fileBytes);
    });
  }

  #note({ method = '', url = '', headers, socket }: IncomingMessage): SeenRequest {
    const { authorization, range } = headers;
    const seen = { method, origin: `http://127.0.0.1:${socket.localPort}`, path: url, authorization, range };
    this.requests.push(seen);
    this.#asked.resolve();
    this.#asked = Promise.withResolvers();
    return seen;
  }

  #answerAsHub(request: IncomingMessage): Answer {
    const url = new URL(request.url ?? '', this.endpoint);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const [, repo = '', kind, revision = ''] = api ?? [];
    if (!api && !file) return refusal(404, undefined, 'no such address');
    const model = this.#models.get(api ? repo : (file?.[1] ?? ''));
    const mayLoad = this.#options.tokens.some((token) => request.headers.authorization === `Bearer ${token}`);
    if (!model || (model.isPrivate && !mayLoad)) {
      return refusal(
        mayLoad ? 404 : 401,
        'RepoNotFound',
        mayLoad ? 'Repository not found' : 'Invalid username or password.',
      );
    }
    const commit = commitOf(model, decodeURIComponent(api ? revision : (file?.[2] ?? '')));
    if (commit === undefined) return refusal(404, 'RevisionNotFound', 'Invalid rev id');
    if (file) return this.#resolve(model, commit, decodeURIComponent(file[3] ?? ''), mayLoad);
    return kind === 'tree' ? this.#treePage(model, url) : describe(model, commit);
  }

  #resolve(model: FakeModel, commit: string, path: string, mayLoad: boolean): Answer {
    if (model.gated && !mayLoad) return refusal(403, 'GatedRepo', 'Access to this model is restricted');
    const stored = this.#stored(model).find((candidate) => candidate.path === path);
    if (!stored) return refusal(404, 'EntryNotFound', 'Entry not found');
    const identity = { 'x-repo-commit': commit, 'accept-ranges': 'bytes' };
    if (!stored.isLarge) {
      return { status: 200, headers: { ...identity, etag: `"${stored.gitOid}"` }, body: stored.content, isFile: true };
    }
    const linked = { 'x-linked-etag': `"${stored.sha256}"`, 'x-linked-size': String(stored.content.length) };
    const location = `${this.storageOrigin}/${stored.sha256}?signature=secret`;
    return { status: 302, headers: { ...identity, ...linked, location } };
  }

  #answerAsStorage(request: IncomingMessage): Answer {
    const { pathname, searchParams } = new URL(request.url ?? '', this.storageOrigin);
    const all = [...this.#models.values()].flatMap((model) => this.#stored(model));
    const stored = all.find(({ sha256 }) => pathname === `/${sha256}`);
    if (!stored || searchParams.get('signature') !== 'secret') return { status: 403, headers: {} };
    return { status: 200, headers: { etag: '"of-the-storage"' }, body: stored.content, isFile: true };
  }

  #treePage(model: FakeModel, url: URL): Answer {
    const stored = this.#stored(model);
    const folders = new Set(stored.flatMap(({ path }) => foldersOf(path)));
    const entries = [
      ...[...folders].map((path) => ({ type: 'directory', path, size: 0, oid: sha1(path) })),
      ...stored.map(treeEntry),
    ];
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const end = start + this.#options.pageSize;
    url.searchParams.set('cursor', String(end));
    const link: Record<string, string> = end < entries.length ? { link: `<${url.href}>; rel="next"` } : {};
    return json(entries.slice(start, end), link);
  }

  #stored({ files }: FakeModel): StoredFile[] {
    return Object.entries(files).map(([path, content]) => ({
      path,
      content,
      gitOid: gitOidOf(content),
      sha256: createHash('sha256').update(content).digest('hex'),
      isLarge: content.length >= this.#options.largeBytes,
    }));
  }
}

/** The only commit of a model whose `revisions` do not say otherwise. */
export function onlyCommit(model: FakeModel): string {
  return sha1(JSON.stringify([model.repo, Object.entries(model.files).map(([path, bytes]) => [path, sha1(bytes)])]));
}

/** Git's name for content. */
export function gitOidOf(content: Uint8Array): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

function commitOf(model: FakeModel, revision: string): string | undefined {
  const only = onlyCommit(model);
  const { revisions = { main: only } } = model;
  if (revision === only || Object.values(revisions).includes(revision)) return revision;
  return Object.hasOwn(revisions, revision) ? revisions[revision] : undefined;
}

function describe({ repo, gated = false, isPrivate = false, cardData, tags = [] }: FakeModel, commit: string): Answer {
  const facts = { _id: sha1(repo), id: repo, sha: commit, private: isPrivate, gated, cardData, tags };
  return json({ ...facts, downloads: 1, likes: 1, lastModified: '2026-01-01T00:00:00.000Z' });
}

function treeEntry({ path, content, gitOid, sha256, isLarge }: StoredFile): object {
  const size = content.length;
  if (!isLarge) return { type: 'file', path, size, oid: gitOid };
  return { type: 'file', path, size, oid: sha1(sha256), lfs: { oid: sha256, size, pointerSize: 134 } };
}

function foldersOf(path: string): string[] {
  const names = path.split('/').slice(0, -1);
  return names.map((_, i) => names.slice(0, i + 1).join('/'));
}

function json(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  const body = new TextEncoder().encode(JSON.stringify(value));
  return { status: 200, headers: { 'content-type': 'application/json', ...headers }, body };
}

function refusal(status: number, code: string | undefined, message: string): Answer {
  const headers = { 'x-error-message': message, ...(code === undefined ? {} : { 'x-error-code': code }) };
  return { status, headers, body: new TextEncoder().encode(JSON.stringify({ error: message })) };
}

function sha1(data: string | Uint8Array): string {
  return createHash('sha1').update(data).digest('hex');
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
