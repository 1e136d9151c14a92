/** How the fake Hub answers, honestly and not. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface SeenRequest {
  readonly method: string;
  /** Of the server that was asked. */
  readonly origin: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly range: string | undefined;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the whole resource; a range is cut out of it. */
  readonly body?: Uint8Array;
  /** Content of a model: counted, and served by range. */
  readonly isFile?: boolean;
  readonly ignoresRange?: boolean;
  /** The connection breaks after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Nothing more comes after so many bytes, but the connection stays. */
  readonly stallAfter?: number;
  /** Nothing comes at all, but the connection stays. */
  readonly isSilent?: boolean;
  /** Without Content-Length, so that an early end looks like the end. */
  readonly isChunked?: boolean;
}

export interface Fault {
  /** Answers that are still to go wrong. */
  times: number;
  readonly fits?: (request: SeenRequest) => boolean;
  readonly change: (honest: Answer, request: SeenRequest) => Answer;
}

const always = Number.POSITIVE_INFINITY;

/** Requests for content: those at the storage server, and those that the Hub itself answers with a file. */
const forContent = (honest: Answer): boolean => honest.isFile === true;

function ofContent(change: (honest: Answer, request: SeenRequest) => Answer): Fault['change'] {
  return (honest, request) => (forContent(honest) ? change(honest, request) : honest);
}

/** Faults by name. Those that are about content leave every other answer as it is. */
export const faults = {
  status: (status: number, headers: Readonly<Record<string, string>> = {}, times = 1): Fault => ({
    times,
    change: () => ({ status, headers }),
  }),
  cutAfter: (bytes: number, times = always): Fault => ({
    times,
    change: ofContent((honest) => ({ ...honest, cutAfter: bytes })),
  }),
  stallAfter: (bytes: number, times = always): Fault => ({
    times,
    change: ofContent((honest) => ({ ...honest, stallAfter: bytes })),
  }),
  ignoreRange: (): Fault => ({ times: always, change: ofContent((honest) => ({ ...honest, ignoresRange: true })) }),
  /** One bit of the content is another. */
  wrongByte: (at: number, times = always): Fault => ({
    times,
    change: ofContent((honest) => ({ ...honest, body: flipped(honest.body ?? new Uint8Array(), at) })),
  }),
  /** Longer or shorter than it should be, and the headers agree. */
  length: (change: (body: Uint8Array) => Uint8Array, isChunked = false): Fault => ({
    times: always,
    change: ofContent((honest) => ({ ...honest, body: change(honest.body ?? new Uint8Array()), isChunked })),
  }),
  headers: (headers: Readonly<Record<string, string>>, fits: (request: SeenRequest) => boolean): Fault => ({
    times: always,
    fits,
    change: (honest) => ({ ...honest, headers: { ...honest.headers, ...headers } }),
  }),
  answer: (answer: Answer, fits: (request: SeenRequest) => boolean, times = always): Fault => ({
    times,
    fits,
    change: () => answer,
  }),
};

function flipped(body: Uint8Array, at: number): Uint8Array {
  return body.map((byte, i) => (i === at ? byte ^ 1 : byte));
}

const chunkBytes = 16 << 10;

/** Resolves when all has been sent, or the client has gone. */
export async function sendAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  onFileBytes: (bytes: number) => void,
): Promise<void> {
  const { status, headers, body } = ranged(answer, request.headers.range);
  const length: Record<string, string> = answer.isChunked ? {} : { 'content-length': String(body.length) };
  response.writeHead(status, { ...length, ...headers });
  if (request.method === 'HEAD') return void response.end();
  const { cutAfter, stallAfter } = answer;
  const end = Math.min(body.length, cutAfter ?? body.length, stallAfter ?? body.length);
  response.flushHeaders();
  const chunks = function* (): Generator<Uint8Array> {
    for (let done = 0; done < end; done += chunkBytes) {
      const chunk = body.subarray(done, Math.min(end, done + chunkBytes));
      yield chunk;
      if (answer.isFile) onFileBytes(chunk.length);
    }
  };
  // A client that goes away has its reasons.
  await pipeline(Readable.from(chunks()), response, { end: false }).catch(() => {});
  if (cutAfter !== undefined && cutAfter < body.length) response.destroy();
  else if (stallAfter === undefined) response.end();
}

function ranged(answer: Answer, range: string | undefined): Required<Pick<Answer, 'status' | 'headers' | 'body'>> {
  const { status, headers, body = new Uint8Array() } = answer;
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  if (first === undefined || !answer.isFile || answer.ignoresRange || status !== 200) return { status, headers, body };
  const begin = Number(first);
  const end = Math.min(body.length, Number(last) + 1);
  if (begin >= body.length) {
    return { status: 416, headers: { 'content-range': `bytes */${body.length}` }, body: new Uint8Array() };
  }
  const contentRange = { 'content-range': `bytes ${begin}-${end - 1}/${body.length}` };
  return { status: 206, headers: { ...contentRange, ...headers }, body: body.subarray(begin, end) };
}
