/**
 * The only writer of groups/ and epochs/. Every write is one transaction that holds only while this controller leads and
 * nobody wrote the group since it was last seen. The view learns of a write before the watch brings it.
 */
import type { Guard, Store, TransactionOutcome, Write } from '#platform/store.ts';
import { epochKey, groupKey } from '#proto/keys.ts';
import { GroupRecord } from '#proto/records.ts';
import { type ClusterView, encodeEpoch } from './cluster-view.ts';

export class GroupWriter {
  readonly #store: Store;
  readonly #view: ClusterView;
  readonly #leads: Guard;

  constructor(store: Store, view: ClusterView, leads: Guard) {
    this.#store = store;
    this.#view = view;
    this.#leads = leads;
  }

  /**
   * Writes what became of `previous` (undefined: of no record). False: refused, because leadership or the record moved on.
   * Errors: STORE_UNAVAILABLE, and the write may yet be applied.
   */
  async put(record: GroupRecord, previous: GroupRecord | undefined): Promise<boolean> {
    if (this.#view.groups.get(record.group) !== previous) return false;
    const outcome = await this.#transact([groupKey(record.group)], [putGroup(record)]);
    if (outcome.applied) this.#view.wrote(record, outcome.revision, false);
    return outcome.applied;
  }

  /** Like put(), for the first record of a formation: the group's epoch rises in the same transaction. */
  async putFormation(record: GroupRecord, previous: GroupRecord | undefined): Promise<boolean> {
    const { group, epoch } = record;
    if (this.#view.groups.get(group) !== previous || epoch <= this.#view.epochOf(group)) return false;
    const outcome = await this.#transact(
      [groupKey(group), epochKey(group)],
      [putGroup(record), { put: epochKey(group), value: encodeEpoch(group, epoch) }],
    );
    if (outcome.applied) this.#view.wrote(record, outcome.revision, true);
    return outcome.applied;
  }

  /** Like put(). The group's epoch stays, and the view learns of it from the watch. */
  async delete(record: GroupRecord): Promise<boolean> {
    if (this.#view.groups.get(record.group) !== record) return false;
    const outcome = await this.#transact([groupKey(record.group)], [{ delete: groupKey(record.group) }]);
    return outcome.applied;
  }

  #transact(keys: readonly string[], writes: readonly Write[]): Promise<TransactionOutcome> {
    const guards = keys.map((key): Guard => {
      const modRevision = this.#view.revisionOf(key);
      return modRevision === undefined ? { key, createRevision: 0 } : { key, modRevision };
    });
    return this.#store.transact({ guards: [this.#leads, ...guards], writes });
  }
}

function putGroup(record: GroupRecord): Write {
  return { put: groupKey(record.group), value: GroupRecord.encode(record).finish() };
}
