/** Waits until every group of a model is Ready, and tells a person meanwhile what happens. */
import { type ErrorCode, errorCodes, TriremeError } from '#platform/errors.ts';
import type { Store } from '#platform/store.ts';
import { groupsPrefix } from '#proto/keys.ts';
import { GroupRecord, GroupState, type ModelRecord } from '#proto/records.ts';
import { stateName } from '../commands/status.ts';

/** Statuses of errors that lie in the files: sysexits.h calls them EX_DATAERR and EX_NOINPUT. */
const badInputStatuses: readonly number[] = [65, 66];

/**
 * Errors: those of a package that a worker refuses, which forming again would not mend; the signal's reason. onChange gets
 * one line per change of a group.
 */
export async function groupsReady(
  store: Store,
  model: ModelRecord,
  onChange: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const ready = new Set<string>();
  const see = (value: Uint8Array): TriremeError | undefined => {
    const record = GroupRecord.decode(value);
    if (record.model !== model.name) return undefined;
    const failure = record.failure ? `: ${record.failure}` : '';
    onChange(`${record.group} epoch ${record.epoch} ${stateName(record)}${failure}`);
    const isReady = record.state === GroupState.GROUP_STATE_READY && record.packageDigest === model.packageDigest;
    if (isReady) ready.add(record.group);
    else ready.delete(record.group);
    if (ready.size >= model.groups) resolve();
    return record.packageDigest === model.packageDigest ? refusalOf(record.failure) : undefined;
  };
  const watch = store.watch(groupsPrefix, (event) => {
    const refusal = event.kind === 'put' ? see(event.entry.value) : undefined;
    if (refusal) reject(refusal);
    // What stands there from before was not said of the package as it is now.
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

/** A record's failure is an error's line: `DIGEST_MISMATCH: worker w0: ...`. */
function refusalOf(failure: string): TriremeError | undefined {
  const [, code = '', message = ''] = /^([A-Z_]+): (.*)$/s.exec(failure) ?? [];
  if (!Object.hasOwn(errorCodes, code)) return undefined;
  const isBadInput = badInputStatuses.includes(errorCodes[code as ErrorCode].exit);
  return isBadInput ? new TriremeError(code as ErrorCode, message) : undefined;
}
