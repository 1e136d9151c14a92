/**
 * Brings an adapter from its folder into a place of every rank of a group: those of this worker, and through their workers those
 * elsewhere, which must find the same files.
 */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { openPlainFile } from '#platform/plain-file.ts';
import { createRpcClient } from '#platform/rpc.ts';
import { WorkerControlService } from '#proto/control.ts';
import { PeftAdapter } from '../adapters/peft-adapter.ts';
import { readManifest, shardFor } from '../rank/package.ts';
import type { Team } from '../rank/team-port.ts';
import type { TeamFormation } from './team-port.ts';

/** For workers to read their files and answer. */
const answerTimeoutMs = 60_000;
/** Read and hashed in one go. */
const chunkBytes = 1 << 20;
const adapterFiles = ['adapter_config.json', 'adapter_model.safetensors'];

/** A folder of the folder of adapters, and nothing outside it. */
const plainName = /^[\w-][\w.-]{0,127}$/;

export interface AdapterOrder {
  readonly place: number;
  readonly name: string;
  /** Of the files that the leader found. */
  readonly digest: string;
}

/** SHA-256 over an adapter's files, hex; of files that are absent nothing. Errors: UNKNOWN_ADAPTER for a name that is none. */
export async function adapterDigest({ serving }: Pick<TeamFormation, 'serving'>, name: string): Promise<string> {
  const folder = folderOf(serving.adapters?.folder, name);
  const hash = createHash('sha256');
  for (const file of adapterFiles) {
    const handle = await openPlainFile(path.join(folder, file));
    if (handle) for await (const chunk of handle.createReadStream({ highWaterMark: chunkBytes })) hash.update(chunk);
  }
  return hash.digest('hex');
}

/**
 * Fills a place of the ranks here. Errors: UNKNOWN_ADAPTER, INVALID_ADAPTER, TRUNCATED_FILE,
 * IO_ERROR; DIGEST_MISMATCH when the files are not the leader's.
 */
export async function fillPlace(
  { packagePath, serving, ranks }: TeamFormation,
  team: Pick<Team, 'adapters'>,
  { place, name, digest }: AdapterOrder,
): Promise<void> {
  const settings = serving.adapters;
  const folder = folderOf(settings?.folder, name);
  if (!settings || place >= settings.places) {
    throw new TriremeError('INVALID_ARGUMENT', `the group has ${settings?.places ?? 0} places, not ${place + 1}`);
  }
  if ((await adapterDigest({ serving }, name)) !== digest) {
    throw new TriremeError('DIGEST_MISMATCH', `${folder} holds other files than the leader's`, {
      remedy: 'Give every worker the same folder of adapters',
    });
  }
  const manifest = readManifest(packagePath);
  const adapter = await PeftAdapter.read(folder, manifest.spec, settings.rank);
  for (const [rank, memory] of team.adapters) {
    memory.write(place, shardFor(manifest, rank, ranks.length), (matrix) => adapter.sliceOf(matrix));
  }
}

/** Asks the other workers of the group to do the same. Errors: theirs; UNAVAILABLE. */
export async function fillElsewhere(
  { group, epoch, ranks, localRanks }: TeamFormation,
  order: AdapterOrder,
): Promise<void> {
  const elsewhere = ranks.filter(({ rank }) => !localRanks.includes(rank));
  const addresses = [...new Set(elsewhere.map(({ address }) => address))];
  await Promise.all(
    addresses.map(async (address) => {
      const client = createRpcClient(address);
      try {
        const request = { group, epoch, ...order };
        await client.unary(WorkerControlService.loadAdapter, request, { timeoutMs: answerTimeoutMs });
      } finally {
        client.close();
      }
    }),
  );
}

function folderOf(root: string | undefined, name: string): string {
  if (root === undefined) {
    throw new TriremeError('UNKNOWN_ADAPTER', `the model is served without adapters; ${name} is none of it`, {
      remedy: 'Serve it with a folder of adapters, or leave the adapter out',
    });
  }
  if (!plainName.test(name)) {
    throw new TriremeError('UNKNOWN_ADAPTER', `${JSON.stringify(name)} is no name of an adapter`, {
      remedy: 'Name a folder within the folder of adapters',
    });
  }
  return path.join(root, name);
}
