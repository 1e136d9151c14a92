/** How much memory a rank would need, computed from the spec alone; rank-plan.ts gives the same sizes, plus alignment. */
import { unreachable } from '#platform/assert.ts';
import { expectedTensors, mixedWidth, type TensorShape } from '../models/expected-tensors.ts';
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

/** Tensors of a model that are alike for counting: one for all of them. */
export interface TensorGroup extends Pick<TensorShape, 'shape' | 'cut' | 'role'> {
  /** Of the layer's grouped attention, for what is cut by them. */
  readonly kvHeads: number;
  readonly count: number;
}

/** Tens of thousands of tensors are some dozens of groups. */
export function tensorGroups(spec: ModelSpec): readonly TensorGroup[] {
  const groups = new Map<string, TensorGroup>();
  for (const { name, shape, cut, role } of expectedTensors(spec)) {
    const kvHeads = cut === 'kv-rows' ? kvHeadsOf(spec, name) : 1;
    const key = [role, cut, kvHeads, ...shape].join(' ');
    groups.set(key, { shape, cut, role, kvHeads, count: (groups.get(key)?.count ?? 0) + 1 });
  }
  return [...groups.values()];
}

function kvHeadsOf({ layers }: ModelSpec, tensor: string): number {
  const layer = /^model[.]layers[.](\d+)[.]/.exec(tensor)?.[1];
  const attention = layers[Number(layer)]?.attention;
  return attention?.kind === 'grouped' ? attention.kvHeads : 1;
}

/** What of a tensor a rank holds. */
function partOf({ shape, cut, kvHeads }: TensorGroup, shard: RankShard): Part {
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
    case 'kv-rows':
      return { ...whole, rows: (rows / kvHeads) * kvHeadRange(kvHeads, shard).count };
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
export function rankBytes(groups: readonly TensorGroup[], shard: RankShard, bytesOf: BytesOf): number {
  return groups.reduce((sum, group) => {
    const { rows, columns, share } = partOf(group, shard);
    return sum + group.count * share * bytesOf(group.role, rows, columns);
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
  return rankBytes(
    tensorGroups(spec),
    shardOf(spec, { rank, ranks }, splitFor(spec, weights, ranks)),
    packageBytes(weights),
  );
}

export interface CacheElements {
  /** Of keys and values, or of the latent they come from; the same for every token. */
  readonly attention: number;
  /** Of the keys of indexers, which every rank has all of. */
  readonly index: number;
  /** Not of a token but of a whole sequence: states of delta nets, and the inputs that their convolutions still see. */
  readonly sequence: number;
}

/** Numbers that one token, or one sequence, adds to the cache of a rank. Errors: ILLEGAL_RANK_COUNT. */
export function cacheElements(spec: ModelSpec, ranks: number): CacheElements {
  const shard = shardOf(spec, { rank: 0, ranks }, splitFor(spec, 'native', ranks));
  const layers = spec.layers.map(({ attention }) => layerElements(attention, spec, shard));
  const sum = (kind: keyof CacheElements): number => layers.reduce((total, layer) => total + layer[kind], 0);
  return { attention: sum('attention'), index: sum('index'), sequence: sum('sequence') };
}

function layerElements(attention: AttentionSpec, spec: ModelSpec, shard: RankShard): CacheElements {
  const none = { attention: 0, index: 0, sequence: 0 };
  switch (attention.kind) {
    case 'grouped':
      return { ...none, attention: 2 * kvHeadRange(attention.kvHeads, shard).count * attention.headDim };
    case 'latent': {
      const index = attention.indexer?.kind === 'own' ? attention.indexer.dim : 0;
      return { ...none, attention: attention.latent + spec.rotary.dims, index };
    }
    case 'delta': {
      const { valueHeads, keyDim, valueDim, kernel } = attention;
      const state = valueHeads * keyDim * valueDim;
      return { ...none, sequence: (state + (kernel - 1) * mixedWidth(attention)) / shard.ranks };
    }
  }
}

/** Bytes that one token takes in the float32 cache of a rank. Errors: ILLEGAL_RANK_COUNT. */
export function kvBytesPerToken(spec: ModelSpec, ranks: number): number {
  const { attention, index } = cacheElements(spec, ranks);
  return (attention + index) * floatBytes;
}
