/** The bytes of one file at one commit, by range, from wherever the Hub says they are. */
import { TriremeError } from '#platform/errors.ts';
import type { Attempt } from './attempt.ts';
import type { HubFile } from './hub-file.ts';
import { bodyOf, type HubAnswer, type HubHttp } from './hub-http.ts';
import type { Subject } from './refusal.ts';
import { TransientFailure } from './retries.ts';

/** The server sends whole files only. Not an error: the file is then loaded in one stream. */
export class RangesIgnored extends Error {
  override readonly name = 'RangesIgnored';
}

export class RemoteFile {
  readonly #http: HubHttp;
  readonly #file: HubFile;
  readonly #commit: string;
  readonly #subject: Subject;
  readonly #hubUrl: URL;
  /** Where the Hub sent us last. Links expire: forgotten at the first failure. */
  #storageUrl: URL | undefined;

  constructor(http: HubHttp, repo: string, commit: string, file: HubFile) {
    this.#http = http;
    this.#file = file;
    this.#commit = commit;
    this.#subject = { repo, revision: commit, file: file.path, ...http.asker };
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    this.#hubUrl = new URL(`${http.settings.endpoint}/${repo}/resolve/${commit}/${path}`);
  }

  /**
   * Yields exactly the bytes from `begin` to `end` (exclusive), in order. Throws RangesIgnored before the first byte, a
   * TransientFailure where another try may help, else errors: those of refusal.ts, SIZE_MISMATCH, HUB_PROTOCOL.
   */
  async *read(begin: number, end: number, attempt: Attempt): AsyncGenerator<Uint8Array> {
    const isRange = begin > 0 || end < this.#file.bytes;
    const headers = isRange ? { range: `bytes=${begin}-${end - 1}` } : undefined;
    const { response } = await this.#send(headers ?? {}, attempt);
    if (isRange && response.status === 200) throw new RangesIgnored();
    this.#checkLength(response, begin, end);
    let position = begin;
    for await (const chunk of bodyOf(response, attempt)) {
      position += chunk.length;
      if (position > end) throw this.#wrongSize(`sends more than bytes ${begin} to ${end}`);
      yield chunk;
    }
    if (position < end) throw this.#cutShort(position, end);
  }

  async #send(headers: Readonly<Record<string, string>>, attempt: Attempt): Promise<HubAnswer> {
    const start = this.#storageUrl ?? this.#hubUrl;
    this.#storageUrl = undefined;
    const answer = await this.#http.send(start, headers, this.#subject, attempt);
    if (start === this.#hubUrl) this.#checkIdentity(answer.hubHeaders);
    if (!this.#http.isHub(answer.url)) this.#storageUrl = answer.url;
    return answer;
  }

  /** The Hub says of every file what it is. Another commit or digest than listed is another file. */
  #checkIdentity(headers: Headers): void {
    const etag = headers.get('x-linked-etag') ?? headers.get('etag');
    const said = {
      commit: headers.get('x-repo-commit'),
      digest: headers.has('x-linked-etag') ? (etag?.replace(/^W\//, '').replaceAll('"', '') ?? null) : null,
      size: headers.get('x-linked-size'),
    };
    const { bytes, digest } = this.#file;
    const expected = { commit: this.#commit, digest: digest.hex, size: String(bytes) };
    for (const key of ['commit', 'digest', 'size'] as const) {
      if (said[key] === null || said[key] === expected[key]) continue;
      throw new TriremeError(
        key === 'size' ? 'SIZE_MISMATCH' : 'HUB_PROTOCOL',
        `${this.#file.path} has ${key} ${said[key]}, but is listed with ${expected[key]}`,
        { remedy: 'The server contradicts itself; try another endpoint' },
      );
    }
  }

  #checkLength({ status, headers }: Response, begin: number, end: number): void {
    const { bytes } = this.#file;
    if (status === 206) {
      const range = headers.get('content-range') ?? '';
      if (range === `bytes ${begin}-${end - 1}/${bytes}`) return;
      throw this.#wrongSize(`sends ${range || 'an unnamed range'} for bytes ${begin}-${end - 1}/${bytes}`);
    }
    const length = headers.get('content-length');
    if (length === null || headers.has('content-encoding') || Number(length) === end - begin) return;
    throw this.#wrongSize(`has ${length} bytes where ${end - begin} are listed`);
  }

  #wrongSize(what: string): TriremeError {
    return new TriremeError('SIZE_MISMATCH', `${this.#file.path} ${what}`, {
      remedy: 'The server contradicts itself; try again later or another endpoint',
    });
  }

  #cutShort(position: number, end: number): TransientFailure {
    const message = `${this.#file.path} ended at byte ${position} instead of ${end}`;
    return new TransientFailure(new TriremeError('HUB_UNAVAILABLE', message));
  }
}
