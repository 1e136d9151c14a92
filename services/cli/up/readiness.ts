/** Waits until every group of a model is Ready, and tells a person meanwhile what happens. */
import { TriremeError } from '#platform/errors.ts';
import type { Store } from '#platform/store.ts';
import { groupsPrefix } from '#proto/keys.ts';
import { GroupRecord, GroupState, type ModelRecord } from '#proto/records.ts';
import { stateName } from '../commands/status.ts';

/** Errors: CANCELLED when the signal aborts. onChange gets one line per change of a group. */
export async function groupsReady(
  store: Store,
  model: ModelRecord,
  onChange: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const ready = new Set<string>();
  const see = (value: Uint8Array): void => {
    const record = GroupRecord.decode(value);
    if (record.model !== model.name) return;
    const failure = record.failure ? `: ${record.failure}` : '';
    onChange(`${record.group} epoch ${record.epoch} ${stateName(record)}${failure}`);
    const isReady = record.state === GroupState.GROUP_STATE_READY && record.packageDigest === model.packageDigest;
    if (isReady) ready.add(record.group);
    else ready.delete(record.group);
    if (ready.size >= model.groups) resolve();
  };
  const watch = store.watch(groupsPrefix, (event) => {
    if (event.kind === 'put') see(event.entry.value);
    if (event.kind === 'snapshot') for (const entry of event.entries) see(entry.value);
  });
  const onAbort = (): void => reject(TriremeError.from(signal.reason));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
    await watch.close();
  }
}
