/**
 * What the store says, folded from watch events: models, workers, groups, epochs. Decides nothing. A value that cannot be
 * used counts as absent and is reported, so that one bad value never stops the others.
 */
import { TriremeError } from '#platform/errors.ts';
import type { WatchEvent } from '#platform/store.ts';
import { epochKey, epochsPrefix, groupKey, groupsPrefix, modelsPrefix, workersPrefix } from '#proto/keys.ts';
import { GroupRecord, GroupState, ModelRecord, WorkerRecord } from '#proto/records.ts';

export class ClusterView {
  readonly models = new Map<string, ModelRecord>();
  readonly workers = new Map<string, WorkerRecord>();
  readonly groups = new Map<string, GroupRecord>();
  readonly #epochs = new Map<string, number>();
  /** By key: the store revision of the last write that was seen below groups/ and epochs/; guards the next one. */
  readonly #revisions = new Map<string, number>();
  readonly #onUnusable: (key: string, error: unknown) => void;

  constructor(onUnusable: (key: string, error: unknown) => void) {
    this.#onUnusable = onUnusable;
  }

  apply(event: WatchEvent): void {
    switch (event.kind) {
      case 'snapshot':
        for (const map of [this.models, this.workers, this.groups, this.#epochs, this.#revisions]) map.clear();
        for (const { key, value, modRevision } of event.entries) this.#put(key, value, modRevision);
        return;
      case 'put':
        return this.#put(event.entry.key, event.entry.value, event.entry.modRevision);
      case 'delete':
        this.#revisions.delete(event.key);
        return this.#drop(event.key);
    }
  }

  /** The highest epoch that the store has for the group; 0 for one that never formed. */
  epochOf(group: string): number {
    return Math.max(this.#epochs.get(group) ?? 0, this.groups.get(group)?.epoch ?? 0);
  }

  /** Store revision of the key's last write that was seen; undefined: the key is absent. Keys below groups/ and epochs/. */
  revisionOf(key: string): number | undefined {
    return this.#revisions.get(key);
  }

  /** Our own write, before the watch brings it: what follows must see it. An older event never undoes it. */
  wrote(record: GroupRecord, revision: number, withEpoch: boolean): void {
    if (this.#isNews(groupKey(record.group), revision)) this.groups.set(record.group, record);
    if (withEpoch && this.#isNews(epochKey(record.group), revision)) this.#epochs.set(record.group, record.epoch);
  }

  #put(key: string, value: Uint8Array, revision: number): void {
    try {
      if (key.startsWith(modelsPrefix)) this.models.set(key.slice(modelsPrefix.length), ModelRecord.decode(value));
      else if (key.startsWith(workersPrefix))
        this.workers.set(key.slice(workersPrefix.length), WorkerRecord.decode(value));
      else if (key.startsWith(groupsPrefix)) {
        if (this.#isNews(key, revision)) this.groups.set(key.slice(groupsPrefix.length), decodeGroup(value));
      } else if (key.startsWith(epochsPrefix)) {
        if (this.#isNews(key, revision)) this.#epochs.set(key.slice(epochsPrefix.length), decodeEpoch(value));
      }
    } catch (error) {
      this.#drop(key);
      this.#onUnusable(key, error);
    }
  }

  /** False for what is known already, or older. */
  #isNews(key: string, revision: number): boolean {
    if (revision <= (this.#revisions.get(key) ?? 0)) return false;
    this.#revisions.set(key, revision);
    return true;
  }

  #drop(key: string): void {
    if (key.startsWith(modelsPrefix)) this.models.delete(key.slice(modelsPrefix.length));
    else if (key.startsWith(workersPrefix)) this.workers.delete(key.slice(workersPrefix.length));
    else if (key.startsWith(groupsPrefix)) this.groups.delete(key.slice(groupsPrefix.length));
    else if (key.startsWith(epochsPrefix)) this.#epochs.delete(key.slice(epochsPrefix.length));
  }
}

/** What lies below epochs/: a record of which only group and epoch are set. */
export function encodeEpoch(group: string, epoch: number): Uint8Array {
  return GroupRecord.encode(GroupRecord.fromPartial({ group, epoch })).finish();
}

function decodeEpoch(value: Uint8Array): number {
  return GroupRecord.decode(value).epoch;
}

function decodeGroup(value: Uint8Array): GroupRecord {
  const record = GroupRecord.decode(value);
  if (record.state < GroupState.GROUP_STATE_FORMING || record.state > GroupState.GROUP_STATE_DEAD) {
    throw new TriremeError('INTERNAL', `group ${record.group} is in the unknown state ${record.state}`);
  }
  return record;
}
