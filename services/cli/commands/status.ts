import type { Command } from 'commander';
import type { GroupStatus, StatusResponse } from '#proto/operations.ts';
import { type GroupRecord, GroupState, type WorkerRecord } from '#proto/records.ts';
import { TriremeClient } from '../../client/client.ts';
import { defaultAddress, serverAddress } from '../arguments.ts';
import type { Terminal } from '../terminal.ts';

const stateNames: Readonly<Record<GroupState, string>> = {
  [GroupState.GROUP_STATE_UNSPECIFIED]: 'unknown',
  [GroupState.GROUP_STATE_FORMING]: 'forming',
  [GroupState.GROUP_STATE_WARMING]: 'warming',
  [GroupState.GROUP_STATE_READY]: 'ready',
  [GroupState.GROUP_STATE_DRAINING]: 'draining',
  [GroupState.GROUP_STATE_DEAD]: 'dead',
  [GroupState.UNRECOGNIZED]: 'unknown',
};

export function addStatus(program: Command, terminal: Terminal): void {
  program
    .command('status')
    .description('show groups, epochs, ranks and load, as one router sees them')
    .option('--address <host:port>', 'a router', serverAddress, defaultAddress)
    .option('--json', 'print the result as JSON')
    .action(async ({ address, json }: { address: string; json?: boolean }) => {
      const client = new TriremeClient(address);
      try {
        const status = await client.status();
        if (json) terminal.json(toJson(status));
        else printStatus(status, terminal);
      } finally {
        client.close();
      }
    });
}

export function stateName(record: GroupRecord | undefined): string {
  return stateNames[record?.state ?? GroupState.GROUP_STATE_UNSPECIFIED];
}

function toJson(status: StatusResponse): unknown {
  return { ...status, groups: status.groups.map((group) => ({ ...group, state: stateName(group.record) })) };
}

function printStatus(status: StatusResponse, terminal: Terminal): void {
  terminal.table(
    ['group', 'model', 'state', 'epoch', 'ranks on', 'running', 'waiting', 'blocks in use'],
    status.groups.map(groupRow),
  );
  terminal.line('');
  terminal.table(
    ['worker', 'address', 'rank capacity', 'ranks in use', ''],
    status.workers.map((worker) => workerRow(worker, status)),
  );
  for (const { record } of status.groups) {
    if (record?.failure) terminal.line(`\n${record.group}: ${record.failure}`);
  }
  const { router } = status;
  if (router) {
    const away = [router.storeConnected ? [] : ['etcd'], router.busConnected ? [] : ['NATS']].flat();
    terminal.line(
      `\nrouter ${router.incarnation}: ${router.activeRequests} requests active, ${router.queuedRequests} queued` +
        (router.draining ? '; it drains' : '') +
        (away.length > 0 ? `; no connection to ${away.join(' and ')}` : ''),
    );
  }
}

function groupRow({ record, session, engine }: GroupStatus): string[] {
  const workers = [...new Set(record?.ranks.map((rank) => rank.worker))].join(', ');
  const load = engine
    ? [`${engine.running}`, `${engine.waiting}`, `${engine.totalBlocks - engine.freeBlocks} of ${engine.totalBlocks}`]
    : [session ? '' : 'no session', '', ''];
  return [record?.group ?? '', record?.model ?? '', stateName(record), String(record?.epoch ?? ''), workers, ...load];
}

function workerRow(worker: WorkerRecord, status: StatusResponse): string[] {
  const used = status.groups
    .flatMap(({ record }) => (record && record.state !== GroupState.GROUP_STATE_DEAD ? record.ranks : []))
    .filter(({ incarnation }) => incarnation === worker.incarnation).length;
  const note = worker.drainMs === undefined ? '' : 'drains';
  return [worker.id, worker.address, String(worker.rankCapacity), String(used), note];
}
