/**
 * What ranks would hold of a model as it is deployed on GPUs, in formats that this slicer does not write: computed from the config
 * alone, to choose machines by.
 */
import { explainSplit, legalRankCounts, type SplitChoice, shardOf } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import { cacheElements, rankBytes, type TensorGroup, tensorGroups } from './rank-bytes.ts';
import { floatModel } from './stored-model.ts';

interface DeploymentFormat {
  /** Of a matrix of a linear layer, with its share of the scales; everything else keeps 16 bits. */
  readonly bytesPerElement: number;
  /** Columns that share a scale. */
  readonly block: number;
}

/** bfloat16; FP8 in blocks of 128 x 128 with a float32 scale; four bits in groups of 128 with a float16 scale. */
export const deploymentFormats = {
  bf16: { bytesPerElement: 2, block: 1 },
  fp8: { bytesPerElement: 1 + 4 / 128 ** 2, block: 128 },
  int4: { bytesPerElement: 0.5 + 2 / 128, block: 128 },
} as const satisfies Readonly<Record<string, DeploymentFormat>>;

export type DeploymentFormatName = keyof typeof deploymentFormats;

const sixteenBits = 2;

/** One rank of so many. */
export interface Deployment {
  readonly ranks: number;
  readonly weightBytes: Readonly<Record<DeploymentFormatName, number>>;
  /** How ranks share experts; absent when there are none, or one rank. */
  readonly experts?: Readonly<Record<DeploymentFormatName, SplitChoice>>;
  /** Keys and values, or their latent, in bfloat16. */
  readonly kvBytesPerToken: number;
  /** Keys of indexers, in bfloat16. */
  readonly indexBytesPerToken: number;
  /** States of delta nets, in float32. */
  readonly stateBytesPerSequence: number;
}

function eachFormat<T>(of: (name: DeploymentFormatName) => T): Readonly<Record<DeploymentFormatName, T>> {
  return { bf16: of('bf16'), fp8: of('fp8'), int4: of('int4') };
}

/** Weights of rank 0, which has biases of sums besides its share. Errors: ILLEGAL_RANK_COUNT. */
function deploymentBytes(
  spec: ModelSpec,
  groups: readonly TensorGroup[],
  format: DeploymentFormatName,
  ranks: number,
): number {
  const { bytesPerElement, block } = deploymentFormats[format];
  const split = explainSplit(spec, ranks, block)?.split ?? 'sliced';
  return rankBytes(groups, shardOf(spec, { rank: 0, ranks }, split), ({ role }, rows, columns) => {
    return rows * columns * (role === 'matrix' || role === 'kept' ? bytesPerElement : sixteenBits);
  });
}

function experts(spec: ModelSpec, ranks: number): Pick<Deployment, 'experts'> {
  const first = explainSplit(spec, ranks, 1);
  if (!first || ranks === 1) return {};
  return { experts: eachFormat((format) => explainSplit(spec, ranks, deploymentFormats[format].block) ?? first) };
}

/** One for every legal rank count. */
export function deploymentsOf(spec: ModelSpec): readonly Deployment[] {
  const groups = tensorGroups(floatModel(spec));
  return legalRankCounts(spec).map((ranks) => {
    const cache = cacheElements(spec, ranks);
    return {
      ranks,
      weightBytes: eachFormat((format) => deploymentBytes(spec, groups, format, ranks)),
      ...experts(spec, ranks),
      kvBytesPerToken: cache.attention * sixteenBits,
      indexBytesPerToken: cache.index * sixteenBits,
      stateBytesPerSequence: cache.sequence * Float32Array.BYTES_PER_ELEMENT,
    };
  });
}
