/** From a checkpoint to a package: check everything, then stream the weights, then put the folder in place. */
import { copyFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { asIoError } from '#platform/io-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import {
  type Activations,
  type FileDigest,
  type Manifest,
  manifestFormat,
  type ShardManifest,
  type WeightFormat,
} from '../models/manifest.ts';
import { refuseIllegalRankCount } from '../models/shard.ts';
import type { Checkpoint, Companion } from './checkpoint.ts';
import { describeQuantisation, IntegerTally } from './describe-quantisation.ts';
import { digestBytes, digestFile } from './digest.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { Progress, type ProgressReport } from './progress.ts';
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
  /** int8 when it is not given. Rows times blocks in fp32 have not the same bits beside other rows: for comparing, not for serving. */
  readonly activations?: Activations;
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
  const progress = new Progress(
    await totalBytes({ checkpoint, tensors }, inputs, options),
    options.signal,
    options.onProgress,
  );
  const inputDigests: FileDigest[] = [];
  for (const file of inputs) inputDigests.push(await digestFile(checkpoint.folder, file, progress));
  const { files, shards, ...numbers } = await writeRanks(tensors, folder, options, progress);
  files.push(...(await writeCompanions(companions, inputDigests, checkpoint.folder, folder)));
  const { name, ...source } = await checkpoint.source();
  const manifest: Manifest = {
    format: manifestFormat,
    name,
    tool: { name: 'trireme', version: packageJson.version },
    spec: checkpoint.spec,
    weights: options.weights,
    activations: numbers.activations,
    experts: splitFor(tensors, options.weights, options.ranks),
    provenance: { ...source, quantisation: numbers.quantisation, inputs: inputDigests },
    files,
    shards,
    endTokens,
  };
  await writeFile(path.join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`);
  return manifest;
}

interface WrittenRanks extends Pick<Manifest, 'shards' | 'activations'>, Pick<Manifest['provenance'], 'quantisation'> {
  readonly files: FileDigest[];
}

async function writeRanks(
  tensors: ModelTensors,
  folder: string,
  { weights, ranks, activations = 'int8' }: SliceOptions,
  progress: Progress,
): Promise<WrittenRanks> {
  const writer = new RankWriter(tensors, progress);
  const integers = new IntegerTally(tensors);
  const files: FileDigest[] = [];
  const shards: ShardManifest[] = [];
  let hasBlocks = false;
  for (let rank = 0; rank < ranks; rank++) {
    // One plan at a time: with many experts and ranks, all of them would outgrow the weights that are in memory.
    const plan = planRank(tensors, { weights, activations, rank, ranks });
    files.push(...(await writer.write(folder, plan)));
    shards.push(plan.shard);
    integers.add(plan.weights);
    hasBlocks ||= plan.weights.some(({ kind }) => kind === 'blocks' || kind === 'integers');
  }
  const quantisation = describeQuantisation({ weights, activations, stored: tensors.formats, integers });
  return { files, shards, activations: hasBlocks ? activations : 'fp32', quantisation };
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

async function totalBytes(
  { checkpoint, tensors }: Pick<SliceSource, 'checkpoint' | 'tensors'>,
  inputs: readonly string[],
  options: SliceOptions,
): Promise<number> {
  const { weights, ranks } = options;
  const sizes = await Promise.all(inputs.map((file) => stat(path.join(checkpoint.folder, file))));
  const read = sizes.reduce((sum, { size }) => sum + size, 0);
  const written = Array.from({ length: ranks }, (_, rank) => rankWeightBytes(tensors, weights, { rank, ranks }));
  return written.reduce((sum, bytes) => sum + bytes, read);
}
