/** From a package to the record that says: this model shall be served, with these settings. */
import { statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { TriremeError } from '#platform/errors.ts';
import type { ModelRecord } from '#proto/records.ts';
import { blockPositions } from '../../../workers/engine/block-pool.ts';
import type { Manifest } from '../../../workers/models/manifest.ts';
import { readManifest, refuseForeignRanks } from '../../../workers/rank/package.ts';
import { kvBytesPerToken } from '../../../workers/slicer/rank-bytes.ts';
import { packageDigest } from '../../../workers/worker/package-digest.ts';
import { wholeNumber } from '../arguments.ts';

export interface ServingFlags {
  readonly maxSequences: number;
  readonly stepTokens: number;
  readonly maxWaiting: number;
  /** MiB of keys and values on each rank. */
  readonly kvMemory: number;
  /** Folder of adapters. */
  readonly adapters?: string;
  readonly adapterPlaces: number;
  readonly adapterRank: number;
}

export function servingOptions(command: Command): Command {
  return command
    .option('--max-sequences <count>', 'sequences that run together in a group', wholeNumber(1, 1024), 32)
    .option(
      '--step-tokens <count>',
      'rows of one step: one per running sequence, the rest for prompts',
      wholeNumber(16, 8192),
      256,
    )
    .option('--max-waiting <count>', 'sequences that may wait in a group', wholeNumber(0, 65_536), 256)
    .option('--kv-memory <MiB>', 'memory for keys and values on each rank', wholeNumber(1, 1 << 20), 512)
    .option('--adapters <folder>', 'LoRA adapters that requests may name, a folder each')
    .option('--adapter-places <count>', 'adapters in memory at a time', wholeNumber(1, 1024), 4)
    .option('--adapter-rank <count>', 'largest rank of an adapter', wholeNumber(1, 1024), 16);
}

/** Errors: NOT_A_PACKAGE, UNKNOWN_FAMILY, IO_ERROR. */
export async function desiredModel(folder: string, groups: number, serving: ServingFlags): Promise<ModelRecord> {
  const manifest = readManifest(folder);
  refuseForeignRanks(folder, manifest);
  const { spec } = manifest;
  return {
    name: manifest.name,
    packagePath: path.resolve(folder),
    packageDigest: await packageDigest(folder),
    ranks: manifest.shards.length,
    groups,
    family: spec.family,
    contextLength: spec.contextLength,
    serving: {
      kvBlocks: kvBlocksOf(manifest, serving),
      maxSequences: serving.maxSequences,
      stepTokens: Math.max(serving.stepTokens, serving.maxSequences),
      maxWaiting: serving.maxWaiting,
      adapters: adapterSettings(serving),
    },
  };
}

function adapterSettings({ adapters, adapterPlaces: places, adapterRank: rank }: ServingFlags) {
  if (adapters === undefined) return undefined;
  if (!statSync(adapters, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TriremeError('INVALID_CONFIG', `${adapters} is no folder of adapters`, {
      remedy: 'Name a folder that holds a folder for each adapter',
    });
  }
  return { folder: path.resolve(adapters), places, rank };
}

/** As many as the memory holds, but no more than all sequences at full length could use. */
function kvBlocksOf({ spec, shards }: Manifest, { kvMemory, maxSequences }: ServingFlags): number {
  const blockBytes = blockPositions * kvBytesPerToken(spec, shards.length);
  const useful = maxSequences * Math.ceil(spec.contextLength / blockPositions);
  return Math.max(1, Math.min(useful, Math.floor((kvMemory * 2 ** 20) / blockBytes)));
}
