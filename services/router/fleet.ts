/** Models, groups and workers as the store has them: a fold over its events. */
import type { StoreEntry, WatchEvent } from '#platform/store.ts';
import { groupsPrefix, modelsPrefix, workersPrefix } from '#proto/keys.ts';
import { GroupRecord, GroupState, ModelRecord, WorkerRecord } from '#proto/records.ts';

export interface FleetView {
  model(name: string): ModelRecord | undefined;
  group(name: string): GroupRecord | undefined;
  /** The group takes requests at this epoch. */
  isReady(group: string, epoch: number): boolean;
}

interface Decoder<Row> {
  decode(bytes: Uint8Array): Row;
}

class Table<Row> {
  readonly rows = new Map<string, Row>();
  readonly prefix: string;
  readonly #decoder: Decoder<Row>;

  constructor(prefix: string, decoder: Decoder<Row>) {
    this.prefix = prefix;
    this.#decoder = decoder;
  }

  put({ key, value }: StoreEntry): void {
    this.rows.set(key.slice(this.prefix.length), this.#decoder.decode(value));
  }
}

export class Fleet implements FleetView {
  readonly #models = new Table(modelsPrefix, ModelRecord);
  readonly #groups = new Table(groupsPrefix, GroupRecord);
  readonly #workers = new Table(workersPrefix, WorkerRecord);
  readonly #tables: readonly Table<unknown>[] = [this.#models, this.#groups, this.#workers];

  /** Keys outside the three tables are left alone. Errors: an Error for a record that does not decode; the rest is applied. */
  apply(event: WatchEvent): void {
    switch (event.kind) {
      case 'snapshot':
        return this.#replace(event.entries);
      case 'put':
        return this.#tableOf(event.entry.key)?.put(event.entry);
      case 'delete': {
        const table = this.#tableOf(event.key);
        table?.rows.delete(event.key.slice(table.prefix.length));
        return;
      }
    }
  }

  get models(): ModelRecord[] {
    return [...this.#models.rows.values()];
  }

  get groups(): GroupRecord[] {
    return [...this.#groups.rows.values()];
  }

  get workers(): WorkerRecord[] {
    return [...this.#workers.rows.values()];
  }

  model(name: string): ModelRecord | undefined {
    return this.#models.rows.get(name);
  }

  group(name: string): GroupRecord | undefined {
    return this.#groups.rows.get(name);
  }

  isReady(group: string, epoch: number): boolean {
    const record = this.group(group);
    return record?.epoch === epoch && record.state === GroupState.GROUP_STATE_READY;
  }

  readyGroupCount(model: string): number {
    return this.groups.filter((group) => group.model === model && this.isReady(group.group, group.epoch)).length;
  }

  #replace(entries: readonly StoreEntry[]): void {
    for (const { rows } of this.#tables) rows.clear();
    let failure: unknown;
    for (const entry of entries) {
      try {
        this.#tableOf(entry.key)?.put(entry);
      } catch (error) {
        failure = error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  #tableOf(key: string): Table<unknown> | undefined {
    return this.#tables.find(({ prefix }) => key.startsWith(prefix));
  }
}
