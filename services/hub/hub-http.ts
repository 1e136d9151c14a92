/**
 * Requests to the Hub and to the hosts it names. The token goes to the endpoint's own origin and nowhere else: redirects are
 * followed here, one by one, because every client has its own idea of which headers go along.
 */
import type { Clock } from '#platform/clock.ts';
import { TriremeError } from '#platform/errors.ts';
import type { RandomSource } from '#platform/random.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { Attempt } from './attempt.ts';
import { refusalOf, type Subject, storageRefusalOf } from './refusal.ts';
import { Retries, type RetryLimits, retryLimits } from './retries.ts';
import type { HubSettings } from './settings.ts';

export interface HubHttpOptions {
  readonly settings: HubSettings;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly retries?: RetryLimits;
  /** A connection on which nothing comes for so long is given up. */
  readonly stallMs?: number;
}

export interface HubAnswer {
  readonly response: Response;
  /** Where the answer came from, after redirects. */
  readonly url: URL;
  /** Headers of the first answer, the Hub's own. */
  readonly hubHeaders: Headers;
}

const maxRedirects = 5;
const defaultStallMs = 30_000;
/** A page of a listing has a thousand files, some hundred bytes each. */
const maxDocumentBytes = 32 << 20;

export class HubHttp {
  readonly settings: HubSettings;
  readonly #endpoint: URL;
  readonly #options: HubHttpOptions;

  constructor(options: HubHttpOptions) {
    this.settings = options.settings;
    this.#endpoint = new URL(options.settings.endpoint);
    this.#options = options;
  }

  /** The parts of a Subject that are the same for every request. */
  get asker(): Pick<Subject, 'endpoint' | 'hasToken'> {
    return { endpoint: this.settings.endpoint, hasToken: this.settings.token !== undefined };
  }

  startRetries(): Retries {
    const { retries = retryLimits, clock, random } = this.#options;
    return new Retries(retries, clock, random);
  }

  /** Dispose of it when its answer has been read. */
  startAttempt(signal: AbortSignal): Attempt {
    return new Attempt(this.#options.clock, this.#options.stallMs ?? defaultStallMs, signal);
  }

  isHub(url: URL): boolean {
    return url.origin === this.#endpoint.origin;
  }

  /** A document that fits in memory, tried again where that may help. Errors: those of refusal.ts, HUB_PROTOCOL. */
  async readDocument(url: string, subject: Subject, signal: AbortSignal): Promise<Response> {
    const retries = this.startRetries();
    for (;;) {
      try {
        using attempt = this.startAttempt(signal);
        const { response } = await this.send(new URL(url), {}, subject, attempt);
        const bytes = await readAll(response, attempt, url);
        return new Response(bytes, { status: response.status, headers: response.headers });
      } catch (failure) {
        await retries.pause(failure, signal);
      }
    }
  }

  /**
   * One GET, redirects followed. The body is still to be read, within the attempt. Throws a TransientFailure where another try
   * may help, else errors: those of refusal.ts, HUB_PROTOCOL.
   */
  async send(
    start: URL,
    headers: Readonly<Record<string, string>>,
    subject: Subject,
    attempt: Attempt,
  ): Promise<HubAnswer> {
    let url = start;
    let hubHeaders: Headers | undefined;
    // Once somebody else has answered, nobody gets the token any more, even if they point back to the Hub.
    let isTrusted = true;
    for (let hop = 0; hop <= maxRedirects; hop++) {
      isTrusted &&= this.isHub(url);
      const response = await this.#get(url, isTrusted ? this.#withToken(headers) : headers, attempt);
      hubHeaders ??= response.headers;
      if (response.ok) return { response, url, hubHeaders };
      // Not read, and not to be waited for either.
      await response.body?.cancel().catch(() => {});
      const location = response.headers.get('location');
      if (response.status < 300 || response.status >= 400 || location === null) {
        throw isTrusted ? refusalOf(response, subject) : storageRefusalOf(response, subject);
      }
      url = redirectTarget(location, url);
    }
    throw new TriremeError('HUB_PROTOCOL', `more than ${maxRedirects} redirects for ${subject.file ?? subject.repo}`);
  }

  async #get(url: URL, headers: Readonly<Record<string, string>>, attempt: Attempt): Promise<Response> {
    try {
      const response = await fetch(url, {
        redirect: 'manual',
        signal: attempt.signal,
        // Digests and ranges are of the file's own bytes.
        headers: { 'accept-encoding': 'identity', 'user-agent': `trireme/${packageJson.version}`, ...headers },
      });
      attempt.onBytes();
      return response;
    } catch (cause) {
      throw attempt.reasonOf(cause, `reach ${url.origin}`);
    }
  }

  #withToken(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const { token } = this.settings;
    return token === undefined ? headers : { ...headers, authorization: `Bearer ${token}` };
  }
}

function redirectTarget(location: string, from: URL): URL {
  const url = URL.parse(location, from.href);
  if (url !== null && ['http:', 'https:'].includes(url.protocol)) {
    if (from.protocol !== 'https:' || url.protocol === 'https:') return url;
  }
  throw new TriremeError('HUB_PROTOCOL', `${from.origin} redirects to what is not to be followed`, {
    remedy: 'Only http and https are, and https never to http',
  });
}

async function readAll(response: Response, attempt: Attempt, url: string): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of bodyOf(response, attempt)) {
    bytes += chunk.length;
    if (bytes > maxDocumentBytes) {
      throw new TriremeError('HUB_PROTOCOL', `${url} sends more than ${maxDocumentBytes >> 20} MiB`);
    }
    chunks.push(chunk);
  }
  return Uint8Array.from(Buffer.concat(chunks));
}

/** The body as it comes. Throws a TransientFailure when the connection breaks or stalls. */
export async function* bodyOf(response: Response, attempt: Attempt): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((cause: unknown) => {
      throw attempt.reasonOf(cause, 'read on');
    });
    if (done) return;
    attempt.onBytes();
    yield value;
  }
}
