/** Keys, prefixes and entries as etcd writes them. */
import type { IKeyValue } from 'etcd3';
import type { StoreEntry } from './store.ts';
import type { EtcdClient } from './store-etcd-client.ts';

export interface KeyRange {
  readonly key: Buffer;
  /** First key that is not in the range. */
  readonly range_end: Buffer;
}

export function prefixRange(prefix: string): KeyRange {
  // To etcd a key and an end of one zero byte mean: every key.
  if (prefix === '') return { key: Buffer.from([0]), range_end: Buffer.from([0]) };
  const key = Buffer.from(prefix);
  const end = Buffer.from(key);
  // The last byte of UTF-8 is below 0xff, so that adding one never carries.
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return { key, range_end: end };
}

export interface Listing {
  readonly entries: readonly StoreEntry[];
  readonly revision: number;
  readonly clusterId: string;
}

/** Entries in the order of their keys' bytes, all as of one revision. Errors: STORE_UNAVAILABLE. */
export async function listRange(client: EtcdClient, range: KeyRange): Promise<Listing> {
  const { header, kvs } = await client.call((member, options) => member.kv.range({ ...range }, options));
  return { entries: kvs.map(toEntry), revision: Number(header.revision), clusterId: header.cluster_id };
}

export function toEntry({ key, value, mod_revision, create_revision }: IKeyValue): StoreEntry {
  return {
    key: key.toString(),
    value: new Uint8Array(value),
    modRevision: Number(mod_revision),
    createRevision: Number(create_revision),
  };
}
