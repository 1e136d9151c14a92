/** From a checkpoint to a package: check everything, then stream the weights, then put the folder in place. */
import { copyFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { asIoError } from '#platform/io-error.ts';
import packageJson from '../../package.json' with { type: 'json' };
import {
  type Activations,
  type FileDigest,
  type Manifest,
  manifestFormat,
  type WeightFormat,
} from '../models/manifest.ts';
import { refuseIllegalRankCount } from '../models/shard.ts';
import type { Checkpoint, Companion } from './checkpoint.ts';
import { digestBytes } from './digest.ts';
import { encodingThreads, startEncoding } from './encoding.ts';
import { FinishedRanks } from './finished-ranks.ts';
import { digestHere, digestInThread } from './input-digests.ts';
import { ModelTensors } from './model-tensors.ts';
import { openCheckpoint } from './open-checkpoint.ts';
import { PackageRanks } from './package-ranks.ts';
import { Progress, type ProgressReport } from './progress.ts';
import { rankWeightBytes } from './rank-bytes.ts';
import { splitFor } from './rank-plan.ts';
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
  /** That encode weights, beside one for digests: 0 is only this one. As many as are worth it when it is not given; the package is the same. */
  readonly threads?: number;
  /** false: what computes and nothing else, for comparing; a tokenizer then need not be there. */
  readonly companions?: boolean;
  /** Aborting it ends the work with CANCELLED within a fraction of a second. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (report: ProgressReport) => void;
}

/**
 * Returns the manifest of the package that is now at `out`. On any error nothing new is there. After CANCELLED, as after a kill, ranks that are
 * whole wait in a hidden folder beside it for the same call; after any other error nothing is left. Errors: those of openCheckpoint,
 * ModelTensors and Staging; ILLEGAL_RANK_COUNT, MISSING_TOKENIZER, DISK_FULL, CANCELLED.
 */
export async function slice(options: SliceOptions): Promise<Manifest> {
  await using checkpoint = await openCheckpoint(options.model);
  refuseIllegalRankCount(checkpoint.spec, options.ranks);
  const tensors = ModelTensors.find(checkpoint);
  const companions = options.companions === false ? [] : await checkpoint.companions();
  const copied = companions.filter(({ contents }) => contents === undefined);
  const inputs = [...checkpoint.files, ...copied.map(({ name }) => name)];
  const origin = await describeOrigin(checkpoint.folder, inputs, options);
  const staging = await Staging.begin(options.out);
  let finished: FinishedRanks | undefined;
  try {
    finished = await FinishedRanks.open(staging, origin);
    const source = { checkpoint, tensors, companions, inputs };
    const manifest = await writePackage(source, { folder: staging.packageFolder, finished }, options);
    await staging.publish();
    return manifest;
  } catch (cause) {
    if (!isCancelled(cause) || !finished || finished.isEmpty) {
      await staging.discard();
      throw asIoError(cause, `write the package ${options.out}`);
    }
    await staging.leave();
    throw new TriremeError('CANCELLED', 'slicing was interrupted', {
      remedy: 'The same command goes on from the ranks that are whole',
      cause,
    });
  }
}

function isCancelled(cause: unknown): boolean {
  return cause instanceof TriremeError && cause.code === 'CANCELLED';
}

/** Whatever the bytes of ranks follow from. Nobody can write to a file without its time of change being another one. */
async function describeOrigin(folder: string, inputs: readonly string[], options: SliceOptions): Promise<string> {
  const { weights, ranks, activations = 'int8' } = options;
  const files: (readonly string[])[] = [];
  for (const file of inputs) {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path.join(folder, file), { bigint: true });
    files.push([file, ...[dev, ino, size, mtimeNs, ctimeNs].map(String)]);
  }
  return JSON.stringify({ format: manifestFormat, version: packageJson.version, weights, ranks, activations, files });
}

interface SliceSource {
  readonly checkpoint: Checkpoint;
  readonly tensors: ModelTensors;
  readonly companions: readonly Companion[];
  /** Files of the checkpoint that are read or copied. */
  readonly inputs: readonly string[];
}

interface Target {
  /** Where the package comes into being. */
  readonly folder: string;
  readonly finished: FinishedRanks;
}

async function writePackage(
  { checkpoint, tensors, companions, inputs }: SliceSource,
  { folder, finished }: Target,
  options: SliceOptions,
): Promise<Manifest> {
  const endTokens = await checkpoint.endTokens();
  const weightBytes = weightBytesOf(tensors, options);
  const totalBytes = weightBytes + (await bytesOf(checkpoint.folder, inputs));
  const progress = new Progress(totalBytes, options.signal, options.onProgress);
  const threads = options.threads ?? encodingThreads(weightBytes);
  await using encoding = startEncoding(options.model, tensors, threads);
  const digestInputs = threads === 0 ? digestHere : digestInThread;
  const writer = new RankWriter(tensors, encoding, progress);
  const ranks = new PackageRanks({ folder, finished, writer, tensors, progress });
  const [inputDigests, { files, shards, ...numbers }] = await bothOrNone(
    digestInputs({ folder: checkpoint.folder, files: inputs }, (bytes) => progress.advance(bytes)),
    ranks.write({ activations: 'int8', ...options }),
    () => progress.stop(),
  );
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

/** When one fails, the other is stopped and waited for. Errors: those of the one that failed first. */
async function bothOrNone<A, B>(a: Promise<A>, b: Promise<B>, stop: () => void): Promise<[A, B]> {
  const both = Promise.all([a, b]);
  both.catch(stop);
  await Promise.allSettled([a, b]);
  return both;
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

function weightBytesOf(tensors: ModelTensors, { weights, ranks }: SliceOptions): number {
  const bytes = Array.from({ length: ranks }, (_, rank) => rankWeightBytes(tensors, weights, { rank, ranks }));
  return bytes.reduce((sum, rankBytes) => sum + rankBytes, 0);
}

async function bytesOf(folder: string, files: readonly string[]): Promise<number> {
  const facts = await Promise.all(files.map((file) => stat(path.join(folder, file))));
  return facts.reduce((sum, { size }) => sum + size, 0);
}
