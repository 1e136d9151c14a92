/**
 * Which part of a model each rank holds: pure arithmetic. Query heads, MLP widths and vocabulary are cut in equal
 * contiguous ranges; KV heads too, or replicated where there are fewer of them than ranks.
 */
import { assert } from '#platform/assert.ts';
import { TriremeError } from '#platform/errors.ts';
import type { ModelSpec } from './spec.ts';

export interface Range {
  readonly first: number;
  readonly count: number;
}

export interface RankShard {
  readonly rank: number;
  readonly ranks: number;
  readonly heads: Range;
  readonly kvHeads: Range;
  /** Vocabulary ids first .. first+count-1, then padding up to `padded` rows, which is the same on every rank. */
  readonly vocabulary: Range & { readonly padded: number };
}

/** Rank's part of something that divides evenly. */
export function evenRange(total: number, rank: number, ranks: number): Range {
  assert(total % ranks === 0, `${total} does not divide by ${ranks}`);
  const count = total / ranks;
  return { first: rank * count, count };
}

/** Why this many ranks cannot share the model; undefined when they can. */
function obstacle(spec: ModelSpec, ranks: number): string | undefined {
  const { heads, kvHeads } = spec.attention;
  if (!Number.isInteger(ranks) || ranks < 1) return 'a rank count is a whole number from 1';
  if (heads % ranks !== 0) return `${heads} query heads do not divide by ${ranks}`;
  if (kvHeads % ranks !== 0 && ranks % kvHeads !== 0) {
    return `${kvHeads} KV heads can neither be divided nor replicated evenly among ${ranks}`;
  }
  const width = spec.layers.map(({ mlp }) => mlp.width).find((candidate) => candidate % ranks !== 0);
  return width === undefined ? undefined : `an MLP of width ${width} does not divide by ${ranks}`;
}

export function legalRankCounts(spec: ModelSpec): readonly number[] {
  const candidates = Array.from({ length: spec.attention.heads }, (_, i) => i + 1);
  return candidates.filter((ranks) => obstacle(spec, ranks) === undefined);
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
export function shardOf(spec: ModelSpec, rank: number, ranks: number): RankShard {
  refuseIllegalRankCount(spec, ranks);
  assert(Number.isInteger(rank) && rank >= 0 && rank < ranks, `rank ${rank} of ${ranks}`);
  const { heads, kvHeads } = spec.attention;
  return {
    rank,
    ranks,
    heads: evenRange(heads, rank, ranks),
    kvHeads:
      kvHeads % ranks === 0
        ? evenRange(kvHeads, rank, ranks)
        : { first: Math.floor((rank * kvHeads) / ranks), count: 1 },
    vocabulary: vocabularyRange(spec.vocabularySize, rank, ranks),
  };
}

function vocabularyRange(size: number, rank: number, ranks: number): RankShard['vocabulary'] {
  const padded = Math.ceil(size / ranks);
  const first = Math.min(rank * padded, size);
  return { first, count: Math.min(padded, size - first), padded };
}
