import type { Command } from 'commander';
import { systemClock } from '#platform/clock.ts';
import { createLogger } from '#platform/log.ts';
import type { Store } from '#platform/store.ts';
import { connectEtcdStore } from '#platform/store-etcd.ts';
import { modelKey } from '#proto/keys.ts';
import { ModelRecord } from '#proto/records.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, wholeNumber } from '../arguments.ts';
import type { Terminal } from '../terminal.ts';
import { desiredModel, type ServingFlags, servingOptions } from '../up/desired.ts';

export function addModels(program: Command, terminal: Terminal): void {
  const models = program
    .command('models')
    .description('list the models that are served; with etcd, say which shall be');
  models
    .command('list', { isDefault: true })
    .description('list the models that a router serves')
    .option('--address <host:port>', 'a router', defaultAddress)
    .option('--json', 'print the result as JSON')
    .action((flags: { address: string; json?: boolean }) => listModels(flags, terminal));
  servingOptions(
    models
      .command('set')
      .description('ask for a model: the controller forms its groups on the workers that there are')
      .requiredOption('--package <folder>', 'the package, as the workers see it')
      .requiredOption('--etcd <url>', 'where etcd is')
      .option('--groups <count>', 'copies of the model', wholeNumber(0, 1024), 1),
  ).action((flags: { package: string; etcd: string; groups: number } & ServingFlags) => setModel(flags, terminal));
  models
    .command('delete <name>')
    .description('serve a model no more: its groups drain and end')
    .requiredOption('--etcd <url>', 'where etcd is')
    .action((name: string, { etcd }: { etcd: string }) => deleteModel(name, etcd, terminal));
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

async function setModel(
  flags: { package: string; etcd: string; groups: number } & ServingFlags,
  terminal: Terminal,
): Promise<void> {
  const record = await desiredModel(flags.package, flags.groups, flags);
  await withStore(flags.etcd, (store) => store.put(modelKey(record.name), ModelRecord.encode(record).finish()));
  terminal.line(`${record.name}: ${record.groups} groups of ${record.ranks} ranks wanted`);
}

async function deleteModel(name: string, etcd: string, terminal: Terminal): Promise<void> {
  await withStore(etcd, (store) => store.delete(modelKey(name)));
  terminal.line(`${name}: no longer wanted`);
}

async function withStore(etcd: string, action: (store: Store) => Promise<void>): Promise<void> {
  const store = await connectEtcdStore({ urls: [etcd], log: createLogger('warn'), clock: systemClock });
  try {
    await action(store);
  } finally {
    await store.close();
  }
}
