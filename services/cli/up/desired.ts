/** From a package to the record that says: this model shall be served, with these settings. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { TriremeError } from '#platform/errors.ts';
import type { ModelRecord } from '#proto/records.ts';
import type { Manifest } from '../../../workers/models/manifest.ts';
import { parseManifest } from '../../../workers/models/manifest-schema.ts';
import { wholeNumber } from '../arguments.ts';

export interface ServingFlags {
  readonly maxSequences: number;
  readonly stepTokens: number;
  readonly maxWaiting: number;
  /** MiB of keys and values on each rank. */
  readonly kvMemory: number;
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
    .option('--kv-memory <MiB>', 'memory for keys and values on each rank', wholeNumber(1, 1 << 20), 512);
}

const blockPositions = 16;

/** Errors: NOT_A_PACKAGE. */
export async function desiredModel(folder: string, groups: number, serving: ServingFlags): Promise<ModelRecord> {
  const { manifest, digest } = await readManifest(folder);
  const { spec } = manifest;
  return {
    name: manifest.name,
    packagePath: path.resolve(folder),
    packageDigest: digest,
    ranks: manifest.shards.length,
    groups,
    family: spec.family,
    contextLength: spec.contextLength,
    serving: {
      kvBlocks: kvBlocksOf(manifest, serving),
      maxSequences: serving.maxSequences,
      stepTokens: Math.max(serving.stepTokens, serving.maxSequences),
      maxWaiting: serving.maxWaiting,
    },
  };
}

/** As many as the memory holds, but no more than all sequences at full length could use. */
function kvBlocksOf({ spec, shards }: Manifest, { kvMemory, maxSequences }: ServingFlags): number {
  const kvHeads = Math.max(...shards.map((shard) => shard.kvHeads));
  const blockBytes = blockPositions * spec.layers.length * 2 * kvHeads * spec.attention.headDim * 4;
  const useful = maxSequences * Math.ceil(spec.contextLength / blockPositions);
  return Math.max(1, Math.min(useful, Math.floor((kvMemory * 2 ** 20) / blockBytes)));
}

async function readManifest(folder: string): Promise<{ manifest: Manifest; digest: string }> {
  const bytes = await readFile(path.join(folder, 'manifest.json')).catch((cause: unknown) => {
    throw new TriremeError('NOT_A_PACKAGE', `${folder} has no readable manifest.json`, {
      remedy: 'Make a package with `trireme slice`',
      cause,
    });
  });
  const manifest = parseManifest(JSON.parse(bytes.toString()));
  return { manifest, digest: createHash('sha256').update(bytes).digest('hex') };
}
