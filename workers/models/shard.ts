/**
 * Which part of a model each rank holds: pure arithmetic. Heads, MLP widths and vocabulary are cut in equal contiguous
 * ranges; KV heads too, or replicated where there are fewer of them than ranks. Experts are cut in width, or spread whole.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { AttentionSpec, ExpertsSpec, LayerSpec, ModelSpec } from './spec.ts';

export interface Range {
  readonly first: number;
  readonly count: number;
}

/** One rank of how many. */
export interface Place {
  readonly rank: number;
  readonly ranks: number;
}

/** Every rank has its part of every expert's width, or all of some experts. */
export type ExpertSplit = 'sliced' | 'spread';

export interface RankShard extends Place {
  readonly experts: ExpertSplit;
  /** Vocabulary ids first .. first+count-1, then padding up to `padded` rows, which is the same on every rank. */
  readonly vocabulary: Range & { readonly padded: number };
}

/** A rank's part of something that divides evenly. */
export function evenRange(total: number, { rank, ranks }: Place): Range {
  assert(total % ranks === 0, `${total} does not divide by ${ranks}`);
  const count = total / ranks;
  return { first: rank * count, count };
}

/** Where there are fewer KV heads than ranks, several ranks hold the same one. */
export function kvHeadRange(kvHeads: number, place: Place): Range {
  if (kvHeads % place.ranks === 0) return evenRange(kvHeads, place);
  return { first: Math.floor((place.rank * kvHeads) / place.ranks), count: 1 };
}

/** The experts that a rank holds, whole or in part. */
export function expertRange({ experts }: ExpertsSpec, shard: RankShard): Range {
  return shard.experts === 'spread' ? evenRange(experts, shard) : { first: 0, count: experts };
}

/** The part of an expert's width that its holder has. */
export function expertWidth({ width }: ExpertsSpec, shard: RankShard): Range {
  return shard.experts === 'spread' ? { first: 0, count: width } : evenRange(width, shard);
}

/** Why so many ranks cannot share a layer's attention; undefined when they can. */
function attentionObstacle(attention: AttentionSpec, ranks: number): string | undefined {
  if (attention.kind === 'delta') {
    return attention.keyHeads % ranks === 0 ? undefined : `${attention.keyHeads} key heads do not divide by ${ranks}`;
  }
  if (attention.heads % ranks !== 0) return `${attention.heads} query heads do not divide by ${ranks}`;
  if (attention.kind === 'latent') return undefined;
  const { kvHeads } = attention;
  if (kvHeads % ranks === 0 || ranks % kvHeads === 0) return undefined;
  return `${kvHeads} KV heads can neither be divided nor replicated evenly among ${ranks}`;
}

function mlpObstacle({ mlp }: LayerSpec, ranks: number): string | undefined {
  const widthObstacle = (width: number): string | undefined =>
    width % ranks === 0 ? undefined : `an MLP of width ${width} does not divide by ${ranks}`;
  if (mlp.kind === 'dense') return widthObstacle(mlp.width);
  const shared = mlp.shared ? widthObstacle(mlp.shared.width) : undefined;
  if (shared !== undefined || canSlice(mlp, ranks, 1) || canSpread(mlp, ranks)) return shared;
  return `neither ${mlp.experts} experts nor their width ${mlp.width} divide by ${ranks}`;
}

function obstacle(spec: ModelSpec, ranks: number): string | undefined {
  if (!Number.isInteger(ranks) || ranks < 1) return 'a rank count is a whole number from 1';
  for (const layer of spec.layers) {
    const reason = attentionObstacle(layer.attention, ranks) ?? mlpObstacle(layer, ranks);
    if (reason !== undefined) return reason;
  }
  return splitObstacle(spec, ranks);
}

/** All layers are split alike. */
function splitObstacle(spec: ModelSpec, ranks: number): string | undefined {
  const sparse = sparseLayers(spec);
  const one = sparse.every((mlp) => canSlice(mlp, ranks, 1)) || sparse.every((mlp) => canSpread(mlp, ranks));
  return one ? undefined : `experts of different layers divide by ${ranks} in different ways`;
}

function sparseLayers(spec: ModelSpec): readonly ExpertsSpec[] {
  return spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp] : []));
}

function canSlice({ width }: ExpertsSpec, ranks: number, alignment: number): boolean {
  return width % (ranks * alignment) === 0;
}

function canSpread({ experts }: ExpertsSpec, ranks: number): boolean {
  return experts % ranks === 0;
}

export interface SplitChoice {
  readonly split: ExpertSplit;
  /** What a rank has: "256 of 2048 columns", "12 of 384 experts". */
  readonly share: string;
  readonly why: string;
}

/**
 * Slices whose width is a multiple of `alignment` (the block that shares a scale) share the work of every row evenly; where
 * they would not be, whole experts avoid a cut through a block. undefined for a model without experts.
 */
export function explainSplit(spec: ModelSpec, ranks: number, alignment: number): SplitChoice | undefined {
  const sparse = sparseLayers(spec);
  const [first] = sparse;
  if (!first) return undefined;
  const sliced = { split: 'sliced', share: `${first.width / ranks} of ${first.width} columns` } as const;
  const uneven = sparse.find((mlp) => !canSlice(mlp, ranks, alignment));
  if (!uneven) {
    const why = alignment === 1 ? 'columns divide evenly' : `slices are whole blocks of ${alignment}`;
    return { ...sliced, why };
  }
  const rest = uneven.width % ranks === 0 ? `would cut blocks of ${alignment}` : 'leaves a remainder';
  const slices = `${uneven.width} columns / ${ranks} ${rest}`;
  const unequal = sparse.find((mlp) => !canSpread(mlp, ranks));
  if (unequal) return { ...sliced, why: `${slices}, but ${unequal.experts} experts do not divide by ${ranks}` };
  return { split: 'spread', share: `${first.experts / ranks} of ${first.experts} experts`, why: slices };
}

export function chooseSplit(spec: ModelSpec, ranks: number, alignment: number): ExpertSplit {
  return explainSplit(spec, ranks, alignment)?.split ?? 'sliced';
}

function headsOf(attention: AttentionSpec): number {
  return attention.kind === 'delta' ? attention.keyHeads : attention.heads;
}

/** Of every count that could be legal the reason why it is not, or undefined. */
export function rankCounts(spec: ModelSpec): ReadonlyMap<number, string | undefined> {
  const most = Math.min(...spec.layers.map(({ attention }) => headsOf(attention)));
  return new Map(Array.from({ length: most }, (_, i) => [i + 1, obstacle(spec, i + 1)]));
}

export function legalRankCounts(spec: ModelSpec): readonly number[] {
  return [...rankCounts(spec)].filter(([, reason]) => reason === undefined).map(([ranks]) => ranks);
}

/** Errors: ILLEGAL_RANK_COUNT; its message says why and ends with the legal counts. */
export function refuseIllegalRankCount(spec: ModelSpec, ranks: number): void {
  const reason = obstacle(spec, ranks);
  if (reason === undefined) return;
  const legal = legalRankCounts(spec).join(', ');
  throw new TriremeError(
    'ILLEGAL_RANK_COUNT',
    `cannot cut the model for ${ranks} ranks: ${reason}; legal rank counts: ${legal}`,
  );
}

/** Errors: ILLEGAL_RANK_COUNT. */
export function shardOf(spec: ModelSpec, { rank, ranks }: Place, experts: ExpertSplit): RankShard {
  refuseIllegalRankCount(spec, ranks);
  assert(Number.isInteger(rank) && rank >= 0 && rank < ranks, `rank ${rank} of ${ranks}`);
  return { rank, ranks, experts, vocabulary: vocabularyRange(spec.vocabularySize, rank, ranks) };
}

function vocabularyRange(size: number, rank: number, ranks: number): RankShard['vocabulary'] {
  const padded = Math.ceil(size / ranks);
  const first = Math.min(rank * padded, size);
  return { first, count: Math.min(padded, size - first), padded };
}
