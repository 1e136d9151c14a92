/** From a checkpoint to a package: check everything, then stream the weights, then put the folder in place. */
import { copyFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { asIoError } from '#platform/io-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import {
  type FileDigest,
  type Manifest,
  manifestFormat,
  type ShardManifest,
  type WeightFormat,
} from '../models/manifest.ts';
import { refuseIllegalRankCount } from '../models/shard.ts';
import type { Checkpoint, Companion } from './checkpoint.ts';
import { digestBytes, digestFile } from './digest.ts';
import { MatrixReader } from './matrix.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { Progress, type ProgressReport } from './progress.ts';
import { describeQuantisation } from './provenance.ts';
import { rankWeightBytes } from './rank-bytes.ts';
import { planRank, splitFor } from './rank-plan.ts';
import { RankWriter } from './rank-writer.ts';
import { Staging } from './staging.ts';

export interface SliceOptions {
  /** Folder of the checkpoint, or its GGUF file. */
  readonly model: string;
  /** Folder of the package; a package that is there is replaced. */
  readonly out: string;
  readonly ranks: number;
  readonly weights: WeightFormat;
  /** Aborting it ends the work with CANCELLED within a fraction of a second. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: ProgressReport) => void;
}

/**
 * Returns the manifest of the package that is now at `out`. On any error nothing new is there. Errors: those of openCheckpoint,
 * ModelTensors and Staging; ILLEGAL_RANK_COUNT, MISSING_TOKENIZER, DISK_FULL, CANCELLED.
 */
export async function slice(options: SliceOptions): Promise<Manifest> {
  await using checkpoint = await openCheckpoint(options.model);
  refuseIllegalRankCount(checkpoint.spec, options.ranks);
  const tensors = ModelTensors.find(checkpoint);
  const companions = await checkpoint.companions();
  const staging = await Staging.begin(options.out);
  try {
    const manifest = await writePackage({ checkpoint, tensors, companions }, staging.folder, options);
    await staging.publish();
    return manifest;
  } catch (cause) {
    await staging.discard();
    throw asIoError(cause, `write the package ${options.out}`);
  }
}

interface SliceSource {
  readonly checkpoint: Checkpoint;
  readonly tensors: ModelTensors;
  readonly companions: readonly Companion[];
}

async function writePackage(
  { checkpoint, tensors, companions }: SliceSource,
  folder: string,
  options: SliceOptions,
): Promise<Manifest> {
  const endTokens = await checkpoint.endTokens();
  const copied = companions.filter(({ contents }) => contents === undefined);
  const inputs = [...checkpoint.files, ...copied.map(({ name }) => name)];
  const progress = new Progress(await totalBytes(checkpoint, inputs, options), options.signal, options.onProgress);
  const inputDigests: FileDigest[] = [];
  for (const file of inputs) inputDigests.push(await digestFile(checkpoint.folder, file, progress));
  const writer = new RankWriter(new MatrixReader(tensors), progress);
  const files: FileDigest[] = [];
  const shards: ShardManifest[] = [];
  for (let rank = 0; rank < options.ranks; rank++) {
    // One plan at a time: with many experts and ranks, all of them would outgrow the weights that are in memory.
    const plan = planRank(checkpoint.spec, options.weights, { rank, ranks: options.ranks });
    files.push(...(await writer.write(folder, plan)));
    shards.push(plan.shard);
  }
  files.push(...(await writeCompanions(companions, inputDigests, checkpoint.folder, folder)));
  const { name, ...source } = await checkpoint.source();
  const manifest: Manifest = {
    format: manifestFormat,
    name,
    tool: { name: 'trireme', version: packageJson.version },
    spec: checkpoint.spec,
    weights: options.weights,
    experts: splitFor(checkpoint.spec, options.weights, options.ranks),
    provenance: { ...source, quantisation: describeQuantisation(options.weights), inputs: inputDigests },
    files,
    shards,
    endTokens,
  };
  await writeFile(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
  return manifest;
}

async function writeCompanions(
  companions: readonly Companion[],
  inputs: readonly FileDigest[],
  from: string,
  to: string,
): Promise<FileDigest[]> {
  const files: FileDigest[] = [];
  for (const { name, contents } of companions) {
    const place = path.join(to, name);
    if (contents === undefined) await copyFile(path.join(from, name), place);
    else await writeFile(place, contents);
    files.push(contents ? digestBytes(name, contents) : inputs.find((digest) => digest.path === name)!);
  }
  return files;
}

async function totalBytes(checkpoint: Checkpoint, inputs: readonly string[], options: SliceOptions): Promise<number> {
  const { weights, ranks } = options;
  const sizes = await Promise.all(inputs.map((file) => stat(path.join(checkpoint.folder, file))));
  const read = sizes.reduce((sum, { size }) => sum + size, 0);
  const written = Array.from({ length: ranks }, (_, rank) => rankWeightBytes(checkpoint.spec, weights, rank, ranks));
  return written.reduce((sum, bytes) => sum + bytes, read);
}
