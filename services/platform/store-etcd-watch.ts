/**
 * A watch on etcd: a list, then the events after its revision, in order. When the stream breaks it resumes after the last
 * revision seen; when etcd has compacted that away, or lost its data, it lists again. etcd3's own watcher is not used: it
 * takes its place from response headers, which may run ahead of events, and cannot recover from a compaction.
 */
import type { IWatchResponse, WatchClient } from 'etcd3';
import type { Logger } from './log.ts';
import type { Watch, WatchEvent } from './store.ts';
import type { EtcdClient } from './store-etcd-client.ts';
import { type KeyRange, listRange, toEntry } from './store-etcd-range.ts';

/** Pause between a broken stream and the next attempt. */
const retryMs = 250;

type WatchStream = Awaited<ReturnType<WatchClient['watch']>>;

export interface EtcdWatchOptions {
  readonly client: EtcdClient;
  readonly range: KeyRange;
  readonly onEvent: (event: WatchEvent) => void;
  readonly log: Logger;
}

export class EtcdWatch implements Watch {
  /** First revision that has not been seen; undefined: nothing is known, list first. */
  #nextRevision: number | undefined;
  #clusterId = '';
  #breakStream = (): void => {};
  readonly #closed = new AbortController();
  readonly #ended: Promise<void>;
  readonly #options: EtcdWatchOptions;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#breakStream();
    await this.#ended;
  }

  /** The member in use has changed or is in doubt: start again, where it was. A stream may outlive its connection by long. */
  reopen(): void {
    this.#breakStream();
  }

  get #isClosed(): boolean {
    return this.#closed.signal.aborted;
  }

  async #run(): Promise<void> {
    const { client, log } = this.#options;
    while (!this.#isClosed) {
      try {
        const revision = this.#nextRevision ?? (await this.#list());
        if (!this.#isClosed) await this.#follow(revision);
      } catch (error) {
        log.debug({ err: error }, 'watch interrupted');
      }
      // Closing ends the pause early; that is no error.
      if (!this.#isClosed) await client.clock.sleep(retryMs, this.#closed.signal).catch(() => {});
    }
  }

  async #list(): Promise<number> {
    const { client, range } = this.#options;
    const { entries, revision, clusterId } = await listRange(client, range);
    this.#clusterId = clusterId;
    this.#nextRevision = revision + 1;
    this.#deliver({ kind: 'snapshot', entries, revision });
    return this.#nextRevision;
  }

  /** Returns when the stream has ended, whatever the reason; what is known then is in #nextRevision. */
  async #follow(startRevision: number): Promise<void> {
    const { client, range, log } = this.#options;
    const stream = await client.member.watchClient.watch();
    const ended = Promise.withResolvers<void>();
    let isOver = false;
    const end = (): void => {
      isOver = true;
      cancelTimer();
      endQuietly(stream);
      ended.resolve();
    };
    const cancelTimer = client.clock.after(client.requestTimeoutMs, () => {
      log.debug('etcd did not confirm a watch in time');
      end();
    });
    this.#breakStream = end;
    stream.on('error', end);
    stream.on('end', end);
    stream.on('data', (response) => {
      if (isOver) return; // What is still in the pipe will come again, on the next stream.
      if (response.created) cancelTimer();
      if (!this.#onResponse(response)) end();
    });
    stream.write({ create_request: { ...range, start_revision: startRevision } });
    if (this.#isClosed) end();
    await ended.promise;
    this.#breakStream = () => {};
  }

  /** False: this stream has nothing more to say. */
  #onResponse(response: IWatchResponse): boolean {
    if (response.created && this.#historyIsAnother(response)) return this.#forget('etcd lost its history');
    if (response.canceled) {
      return response.compact_revision === '0' ? false : this.#forget('etcd compacted what was not seen yet');
    }
    for (const event of response.events) {
      const { key, ...entry } = toEntry(event.kv);
      this.#nextRevision = entry.modRevision + 1;
      const isDelete = /^delete$/i.test(event.type);
      this.#deliver(isDelete ? { kind: 'delete', key } : { kind: 'put', entry: { key, ...entry } });
    }
    return true;
  }

  /** After a restart with empty data, revisions begin again: waiting for the next one would be waiting for ever. */
  #historyIsAnother({ header }: IWatchResponse): boolean {
    return header.cluster_id !== this.#clusterId || Number(header.revision) + 1 < (this.#nextRevision ?? 0);
  }

  #forget(reason: string): false {
    this.#options.log.info({ revision: this.#nextRevision }, `${reason}; listing again`);
    this.#nextRevision = undefined;
    return false;
  }

  #deliver(event: WatchEvent): void {
    if (!this.#isClosed) this.#options.onEvent(event);
  }
}

function endQuietly(stream: WatchStream): void {
  stream.end(); // cancel() alone would look like a failure to etcd3, which then drops every connection
  stream.cancel();
}
