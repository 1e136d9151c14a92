/** How much memory a rank would need, computed without a plan; rank-plan.ts gives the same sizes, plus alignment. */
import { unreachable } from '#platform/assert.ts';
import { expectedTensors, mixedWidth, type TensorShape } from '../models/expected-tensors.ts';
import type { WeightFormat } from '../models/manifest.ts';
import { kvHeadRange, type Place, type RankShard, shardOf } from '../models/shard.ts';
import type { AttentionSpec, ModelSpec } from '../models/spec.ts';
import { type KeptBlocks, keptColumns } from './kept-integers.ts';
import { blocksPerRow, bytesPerBlock } from './quantise.ts';
import { matrixFormats, splitFor } from './rank-plan.ts';
import type { StoredIntegers } from './stored/integers.ts';
import { floatModel, type StoredModel } from './stored-model.ts';

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
  readonly integers: StoredIntegers | undefined;
  readonly count: number;
}

/** Tens of thousands of tensors are some dozens of groups. */
export function tensorGroups(model: StoredModel): readonly TensorGroup[] {
  const { spec } = model;
  const groups = new Map<string, TensorGroup>();
  for (const { name, shape, cut, role } of expectedTensors(spec)) {
    const kvHeads = cut === 'kv-rows' ? kvHeadsOf(spec, name) : 1;
    const integers = model.integers(name);
    const kind = integers && [integers.bits, integers.groupSize, integers.hasZeros, integers.actOrder];
    const key = JSON.stringify([role, cut, kvHeads, shape, kind]);
    groups.set(key, { shape, cut, role, kvHeads, integers, count: (groups.get(key)?.count ?? 0) + 1 });
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

/** Bytes of a part [rows, columns] of a tensor of the group. */
export type BytesOf = (group: TensorGroup, rows: number, columns: number) => number;

/** Sum over a rank's part of every tensor. */
export function rankBytes(groups: readonly TensorGroup[], shard: RankShard, bytesOf: BytesOf): number {
  return groups.reduce((sum, group) => {
    const { rows, columns, share } = partOf(group, shard);
    return sum + group.count * share * bytesOf(group, rows, columns);
  }, 0);
}

function packageBytes(weights: WeightFormat, { rank }: RankShard): BytesOf {
  const { keeps, others } = matrixFormats[weights];
  return ({ role, shape, integers }, rows, columns) => {
    if (role !== 'matrix' && role !== 'head') return rows * columns * floatBytes;
    const first = columns === shape[1] ? 0 : rank * columns;
    const kept =
      integers && keeps.includes(integers.bits) ? keptColumns(integers, { first, count: columns }) : undefined;
    if (kept) return keptBytes(kept, rows, columns);
    if (others === 'float') return rows * columns * floatBytes;
    return rows * blocksPerRow(columns) * (bytesPerBlock(others) + floatBytes);
  };
}

function keptBytes({ bits, blockSize, hasZeros, reordered }: KeptBlocks, rows: number, columns: number): number {
  const blocks = Math.ceil(columns / blockSize);
  const zeros = hasZeros ? Math.ceil(blocks / 2) : 0;
  const order = reordered ? columns * BigInt64Array.BYTES_PER_ELEMENT : 0;
  return rows * (blocks * ((blockSize * bits) / 8 + floatBytes) + zeros) + order;
}

/** Bytes of weights.bin without the gaps that alignment makes (under 64 bytes a weight). Errors: ILLEGAL_RANK_COUNT. */
export function rankWeightBytes(model: StoredModel, weights: WeightFormat, place: Place): number {
  const shard = shardOf(model.spec, place, splitFor(model, weights, place.ranks));
  return rankBytes(tensorGroups(model), shard, packageBytes(weights, shard));
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
  const shard = shardOf(spec, { rank: 0, ranks }, splitFor(floatModel(spec), 'native', ranks));
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
