/** From the Hub into a partial file: part by part, each tried again where it was cut, at most so many at once. */

import type { HubHttp } from './hub-http.ts';
import type { Part, PartialFile } from './partial-file.ts';
import { RangesIgnored, type RemoteFile } from './remote-file.ts';
import type { Retries } from './retries.ts';
import { allTogether, type Slots } from './slots.ts';

export interface LoadContext {
  readonly http: HubHttp;
  /** Of all files together. */
  readonly connections: Slots;
  /** Gathered before they are written. */
  readonly writeBytes: number;
  readonly signal: AbortSignal;
  /** Negative when bytes are loaded again. */
  readonly onBytes: (count: number) => void;
}

/** A try that brought less counts as a failure, whatever it brought: a connection may be cut at every byte. */
const progressBytes = 64 << 10;

/** All that is missing. Errors: those of RemoteFile, after as many tries as retries.ts grants; those of the file system. */
export async function loadMissing(source: RemoteFile, partial: PartialFile, context: LoadContext): Promise<void> {
  try {
    await allTogether(partial.parts, context.signal, async (part, signal) => {
      if (part.begin + part.done === part.end) return;
      await context.connections.run(signal, () => loadPart(source, partial, part, { ...context, signal }));
    });
  } catch (cause) {
    if (!(cause instanceof RangesIgnored)) throw cause;
    await context.connections.run(context.signal, () => loadWhole(source, partial, context));
  }
}

async function loadPart(source: RemoteFile, partial: PartialFile, part: Part, context: LoadContext): Promise<void> {
  await untilDone(
    context,
    () => part.done,
    async () => {
      using attempt = context.http.startAttempt(context.signal);
      const writer = new GatheringWriter(context, (data) => partial.append(part, data));
      try {
        for await (const chunk of source.read(part.begin + part.done, part.end, attempt)) await writer.write(chunk);
      } finally {
        await writer.flush();
      }
    },
  );
}

/** One stream from the first byte on. After a cut it starts over, and what is there already is passed over. */
async function loadWhole(source: RemoteFile, partial: PartialFile, context: LoadContext): Promise<void> {
  for (const part of partial.parts) {
    if (part.begin < partial.prefixBytes || part.done === 0) continue;
    context.onBytes(-part.done);
    await partial.reset(part);
  }
  await untilDone(
    context,
    () => partial.prefixBytes,
    async () => {
      using attempt = context.http.startAttempt(context.signal);
      const writer = new GatheringWriter(context, (data) => appendAcross(partial, data));
      let skip = partial.prefixBytes;
      try {
        for await (const chunk of source.read(0, partial.bytes, attempt)) {
          const fresh = chunk.subarray(Math.min(skip, chunk.length));
          skip -= chunk.length - fresh.length;
          await writer.write(fresh);
        }
      } finally {
        await writer.flush();
      }
    },
  );
}

async function appendAcross(partial: PartialFile, data: Uint8Array): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const position = partial.prefixBytes;
    const part = partial.parts.find(({ begin, end }) => begin <= position && position < end)!;
    const piece = data.subarray(done, done + part.end - position);
    await partial.append(part, piece);
    done += piece.length;
  }
}

async function untilDone(context: LoadContext, position: () => number, load: () => Promise<void>): Promise<void> {
  const retries: Retries = context.http.startRetries();
  for (;;) {
    const before = position();
    try {
      return await load();
    } catch (failure) {
      if (position() - before >= progressBytes) retries.onProgress();
      await retries.pause(failure, context.signal);
    }
  }
}

/** Few large writes instead of many small ones. */
class GatheringWriter {
  readonly #context: LoadContext;
  readonly #append: (data: Uint8Array) => Promise<void>;
  readonly #buffer: Buffer;
  #gathered = 0;

  constructor(context: LoadContext, append: (data: Uint8Array) => Promise<void>) {
    this.#context = context;
    this.#append = append;
    this.#buffer = Buffer.alloc(context.writeBytes);
  }

  async write(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; ) {
      const piece = chunk.subarray(done, done + this.#buffer.length - this.#gathered);
      this.#buffer.set(piece, this.#gathered);
      this.#gathered += piece.length;
      done += piece.length;
      if (this.#gathered === this.#buffer.length) await this.flush();
    }
  }

  async flush(): Promise<void> {
    const data = this.#buffer.subarray(0, this.#gathered);
    this.#gathered = 0;
    if (data.length === 0) return;
    await this.#append(data);
    this.#context.onBytes(data.length);
  }
}
