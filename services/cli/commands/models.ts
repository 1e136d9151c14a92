import type { Command } from 'commander';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import type { Store } from '#platform/store.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { modelKey } from '#proto/keys.ts';
import { ModelRecord } from '#proto/records.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, serverAddress, serverUrl, wholeNumber } from '../arguments.ts';
import type { Terminal } from '../terminal.ts';
import { desiredModel, type ServingFlags, servingOptions } from '../up/desired.ts';

interface StoreFlags {
  readonly etcd: string;
  /** Seconds. */
  readonly wait: number;
}

interface SetFlags extends StoreFlags, ServingFlags {
  readonly package: string;
  readonly groups: number;
}

export function addModels(program: Command, terminal: Terminal): void {
  const models = program
    .command('models')
    .description('list the models that are served; with etcd, say which shall be');
  models
    .command('list', { isDefault: true })
    .description('list the models that a router serves')
    .option('--address <host:port>', 'a router', serverAddress, defaultAddress)
    .option('--json', 'print the result as JSON')
    .action((flags: { address: string; json?: boolean }) => listModels(flags, terminal));
  servingOptions(
    models
      .command('set')
      .description('ask for a model: the controller forms its groups on the workers that there are')
      .requiredOption('--package <folder>', 'the package, as the workers see it')
      .requiredOption('--etcd <url>', 'where etcd is', serverUrl('http', 'https'))
      .option('--wait <seconds>', 'how long to wait for etcd', wholeNumber(1, 3600), 30)
      .option('--groups <count>', 'copies of the model', wholeNumber(0, 1024), 1),
  ).action((flags: SetFlags) => setModel(flags, terminal));
  models
    .command('delete <name>')
    .description('serve a model no more: its groups drain and end')
    .requiredOption('--etcd <url>', 'where etcd is', serverUrl('http', 'https'))
    .option('--wait <seconds>', 'how long to wait for etcd', wholeNumber(1, 3600), 30)
    .action((name: string, flags: StoreFlags) => deleteModel(name, flags, terminal));
}

async function listModels({ address, json }: { address: string; json?: boolean }, terminal: Terminal): Promise<void> {
  const client = new TriremeClient(address);
  try {
    const models = await client.listModels();
    if (json) return terminal.json(models);
    terminal.table(
      ['model', 'family', 'context', 'ready groups'],
      models.map((model) => [model.name, model.family, String(model.contextLength), String(model.readyGroups)]),
    );
  } finally {
    client.close();
  }
}

async function setModel(flags: SetFlags, terminal: Terminal): Promise<void> {
  const record = await desiredModel(flags.package, flags.groups, flags);
  await withStore(flags, (store) => store.put(modelKey(record.name), ModelRecord.encode(record).finish()));
  terminal.line(`${record.name}: ${record.groups} groups of ${record.ranks} ranks wanted`);
}

async function deleteModel(name: string, flags: StoreFlags, terminal: Terminal): Promise<void> {
  await withStore(flags, (store) => store.delete(modelKey(name)));
  terminal.line(`${name}: no longer wanted`);
}

async function withStore({ etcd, wait }: StoreFlags, action: (store: Store) => Promise<void>): Promise<void> {
  const log = createLogger('warn');
  const store = await connectEtcdStore({ urls: [etcd], log, clock: systemClock, startLimitMs: wait * 1000 });
  try {
    await action(store);
  } finally {
    await store.close();
  }
}
