/** How much memory a rank would need, computed from the spec alone; rank-plan.ts gives the same sizes, plus alignment. */
import { unreachable } from '#platform/assert.ts';
import { expectedTensors, type TensorShape } from '../models/expected-tensors.ts';
import type { WeightFormat } from '../models/manifest.ts';
import { kvHeadRange, type RankShard, shardOf } from '../models/shard.ts';
import type { AttentionSpec, ModelSpec } from '../models/spec.ts';
import { blocksPerRow, bytesPerBlock } from './quantise.ts';
import { matrixFormats, splitFor } from './rank-plan.ts';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

interface Part {
  readonly rows: number;
  readonly columns: number;
  /** How many ranks' worth of it there is on average: with spread experts, a share of them. */
  readonly share: number;
}

/** What of a tensor a rank holds. */
function partOf({ shape, cut }: TensorShape, layer: AttentionSpec | undefined, shard: RankShard): Part {
  const rows = shape[0] ?? 1;
  const columns = shape.slice(1).reduce((product, size) => product * size, 1);
  const { ranks } = shard;
  const whole = { rows, columns, share: 1 };
  const first = { ...whole, share: shard.rank === 0 ? 1 : 0 };
  const spread = { ...whole, share: 1 / ranks };
  switch (cut) {
    case 'whole':
      return whole;
    case 'rows':
      return { ...whole, rows: rows / ranks };
    case 'columns':
      return { ...whole, columns: columns / ranks };
    case 'kv-rows': {
      const kvHeads = layer?.kind === 'grouped' ? layer.kvHeads : 1;
      return { ...whole, rows: (rows / kvHeads) * kvHeadRange(kvHeads, shard).count };
    }
    case 'vocabulary':
      return { ...whole, rows: shard.vocabulary.padded };
    case 'first':
      return first;
    case 'expert-rows':
      return shard.experts === 'spread' ? spread : { ...whole, rows: rows / ranks };
    case 'expert-columns':
      return shard.experts === 'spread' ? spread : { ...whole, columns: columns / ranks };
    case 'expert-first':
      return shard.experts === 'spread' ? spread : first;
    default:
      return unreachable(cut);
  }
}

/** Bytes of a matrix [rows, columns] of this role. */
export type BytesOf = (role: TensorShape['role'], rows: number, columns: number) => number;

/** Sum over a rank's part of every tensor. */
export function rankBytes(spec: ModelSpec, shard: RankShard, bytesOf: BytesOf): number {
  const attentions = spec.layers.map(({ attention }) => attention);
  return expectedTensors(spec).reduce((sum, tensor) => {
    const layer = /^model[.]layers[.](\d+)[.]/.exec(tensor.name)?.[1];
    const { rows, columns, share } = partOf(tensor, layer ? attentions[Number(layer)] : undefined, shard);
    return sum + share * bytesOf(tensor.role, rows, columns);
  }, 0);
}

function packageBytes(weights: WeightFormat): BytesOf {
  const format = matrixFormats[weights];
  return (role, rows, columns) => {
    if (format === 'float' || (role !== 'matrix' && role !== 'head')) return rows * columns * floatBytes;
    return rows * blocksPerRow(columns) * (bytesPerBlock(format) + floatBytes);
  };
}

/** Bytes of weights.bin without the gaps that alignment makes (under 64 bytes a weight). Errors: ILLEGAL_RANK_COUNT. */
export function rankWeightBytes(spec: ModelSpec, weights: WeightFormat, rank: number, ranks: number): number {
  return rankBytes(spec, shardOf(spec, { rank, ranks }, splitFor(spec, weights, ranks)), packageBytes(weights));
}

/**
 * Formats that models are deployed in on GPUs, bytes an element: bfloat16; FP8 in blocks of 128 x 128 with a float32 scale; four
 * bits in groups of 128 with a float16 scale. Embeddings, output projection, routers and norms keep 16 bits.
 */
export const deploymentFormats = { bf16: 2, fp8: 1 + 4 / 128 ** 2, int4: 0.5 + 2 / 128 } as const;

export function deploymentBytes(spec: ModelSpec, format: keyof typeof deploymentFormats, ranks: number): number {
  const shard = shardOf(spec, { rank: 0, ranks }, splitFor(spec, 'native', ranks));
  const linear = deploymentFormats[format];
  return rankBytes(spec, shard, (role, rows, columns) => {
    return rows * columns * (role === 'matrix' || role === 'kept' ? linear : 2);
  });
}

/** Numbers that one token adds to the cache of a rank. Errors: ILLEGAL_RANK_COUNT. */
export function cacheElementsPerToken(spec: ModelSpec, ranks: number): number {
  const shard = shardOf(spec, { rank: 0, ranks }, splitFor(spec, 'native', ranks));
  return spec.layers.reduce((sum, { attention }) => sum + layerElements(attention, spec, shard), 0);
}

function layerElements(attention: AttentionSpec, spec: ModelSpec, shard: RankShard): number {
  switch (attention.kind) {
    case 'grouped':
      return 2 * kvHeadRange(attention.kvHeads, shard).count * attention.headDim;
    case 'latent':
      return attention.latent + spec.rotary.dims + (attention.indexer?.kind === 'own' ? attention.indexer.dim : 0);
    case 'delta':
      return 0;
  }
}

/** Bytes that one token takes in the float32 cache of a rank. Errors: ILLEGAL_RANK_COUNT. */
export function kvBytesPerToken(spec: ModelSpec, ranks: number): number {
  return cacheElementsPerToken(spec, ranks) * floatBytes;
}
