/** Tells the held groups what the placement says of them, so that a worker which missed its disbanding ends by itself. */
import type { Store, StoreEntry, Watch } from '#platform/store.ts';
import { groupsPrefix } from '#proto/keys.ts';
import { GroupRecord } from '#proto/records.ts';

/** A record that is gone says nothing: its last state did, and the store may have been rebuilt. */
export function watchPlacement(store: Store, onRecord: (record: GroupRecord) => void): Watch {
  const tell = ({ value }: StoreEntry): void => onRecord(GroupRecord.decode(value));
  return store.watch(groupsPrefix, (event) => {
    if (event.kind === 'snapshot') for (const entry of event.entries) tell(entry);
    if (event.kind === 'put') tell(event.entry);
  });
}
