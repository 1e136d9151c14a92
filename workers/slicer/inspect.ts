/** What a folder or file is, package, checkpoint or a config alone, as a record that a command can print. Reads no weights. */
import path from 'node:path';
import { TriremeError } from '#platform/errors.ts';
import { expectedTensors } from '../models/expected-tensors.ts';
import { readModelSpec } from '../models/families.ts';
import type { Manifest, WeightFormat } from '../models/manifest.ts';
import { parseManifest } from '../models/manifest-schema.ts';
import { legalRankCounts, rankCounts } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import { readJson } from './checkpoint.ts';
import { type Deployment, deploymentsOf } from './deployment.ts';
import { ModelTensors } from './model-tensors.ts';
import { holdsWeights, openCheckpoint } from './open-checkpoint.ts';
import { kvBytesPerToken, rankWeightBytes } from './rank-bytes.ts';

export interface ModelFacts {
  readonly family: string;
  readonly parameters: number;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly vocabularySize: number;
  readonly contextLength: number;
  readonly legalRankCounts: readonly number[];
  /** Those between them, and why. */
  readonly refusedRankCounts: readonly { readonly ranks: number; readonly reason: string }[];
}

/** What one rank would hold if the checkpoint were sliced for this many. */
export interface RankEstimate {
  readonly ranks: number;
  /** Weights of the largest rank. */
  readonly weightBytes: Readonly<Record<WeightFormat, number>>;
  readonly kvBytesPerToken: number;
}

export interface CheckpointInspection {
  readonly kind: 'checkpoint';
  readonly name: string;
  readonly model: ModelFacts;
  /** Formats of the tensors: element types as safetensors names them, and those of quantised tensors. */
  readonly storedTypes: readonly string[];
  readonly storedBytes: number;
  /** One for each legal rank count. */
  readonly estimates: readonly RankEstimate[];
  /** The same in formats of other systems. */
  readonly deployments: readonly Deployment[];
}

/** A config.json without weights. */
export interface ConfigInspection {
  readonly kind: 'config';
  readonly name: string;
  readonly model: ModelFacts;
  /** One for each legal rank count. */
  readonly deployments: readonly Deployment[];
}

export interface PackageInspection {
  readonly kind: 'package';
  readonly name: string;
  readonly model: ModelFacts;
  readonly weights: WeightFormat;
  /** All files but the manifest. */
  readonly packageBytes: number;
  readonly ranks: number;
  readonly shards: readonly {
    readonly rank: number;
    readonly weightBytes: number;
    readonly kvBytesPerToken: number;
  }[];
  readonly provenance: Manifest['provenance'];
}

export type Inspection = CheckpointInspection | ConfigInspection | PackageInspection;

/** Errors: NOT_A_CHECKPOINT when the place is neither; those of parseManifest, openCheckpoint and ModelTensors. */
export async function inspect(place: string): Promise<Inspection> {
  const manifest = await readJson(place, 'manifest.json', 'NOT_A_PACKAGE');
  if (manifest !== undefined) return inspectPackage(parseManifest(manifest));
  if (await holdsWeights(place)) return inspectCheckpoint(place);
  const config = await readJson(place, 'config.json');
  if (config !== undefined) return inspectConfig(place, config);
  throw new TriremeError('NOT_A_CHECKPOINT', `${place} has neither a manifest.json nor a config.json`, {
    remedy: 'Name a folder that slice wrote, one with the files of a Hugging Face model, or a GGUF file',
  });
}

function factsOf(spec: ModelSpec): ModelFacts {
  const sizes = expectedTensors(spec).map(({ shape }) => shape.reduce((product, size) => product * size, 1));
  return {
    family: spec.family,
    parameters: sizes.reduce((sum, size) => sum + size, 0),
    layers: spec.layers.length,
    hiddenSize: spec.hiddenSize,
    vocabularySize: spec.vocabularySize,
    contextLength: spec.contextLength,
    legalRankCounts: legalRankCounts(spec),
    refusedRankCounts: [...rankCounts(spec)].flatMap(([ranks, reason]) => (reason ? [{ ranks, reason }] : [])),
  };
}

function inspectConfig(folder: string, config: unknown): ConfigInspection {
  const spec = readModelSpec(config);
  return {
    kind: 'config',
    name: path.basename(path.resolve(folder)),
    model: factsOf(spec),
    deployments: deploymentsOf(spec),
  };
}

async function inspectCheckpoint(folder: string): Promise<CheckpointInspection> {
  await using checkpoint = await openCheckpoint(folder);
  const tensors = ModelTensors.find(checkpoint);
  const { spec } = checkpoint;
  const stored = [...checkpoint.tensors];
  const { name } = await checkpoint.source();
  return {
    kind: 'checkpoint',
    name,
    model: factsOf(spec),
    storedTypes: tensors.formats,
    storedBytes: stored.reduce((sum, { bytes }) => sum + bytes, 0),
    estimates: legalRankCounts(spec).map((ranks) => ({
      ranks,
      // Rank 0 holds the biases of sums besides its share.
      weightBytes: {
        native: rankWeightBytes(tensors, 'native', { rank: 0, ranks }),
        fp32: rankWeightBytes(tensors, 'fp32', { rank: 0, ranks }),
        int8: rankWeightBytes(tensors, 'int8', { rank: 0, ranks }),
        int4: rankWeightBytes(tensors, 'int4', { rank: 0, ranks }),
      },
      kvBytesPerToken: kvBytesPerToken(spec, ranks),
    })),
    deployments: deploymentsOf(spec),
  };
}

function inspectPackage(manifest: Manifest): PackageInspection {
  const { spec, shards } = manifest;
  return {
    kind: 'package',
    name: manifest.name,
    model: factsOf(spec),
    weights: manifest.weights,
    packageBytes: manifest.files.reduce((sum, { bytes }) => sum + bytes, 0),
    ranks: shards.length,
    shards: shards.map(({ rank, weightBytes }) => ({
      rank,
      weightBytes,
      kvBytesPerToken: kvBytesPerToken(spec, shards.length),
    })),
    provenance: manifest.provenance,
  };
}
