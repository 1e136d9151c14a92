/**
 * Logits of a step out of the shards of the vocabulary: every rank has computed its range of ids for the wanted rows; the
 * leader needs the best id of some rows and all of others. Where the best id is enough, a rank sends it and its logit
 * only. On a tie the lowest id wins, within a shard and between shards.
 */
import { assert } from '#platform/assert.ts';
import type { ChunkLogits, SequenceChunk, StepPlan } from '../engine/step.ts';
import type { RankShard } from '../models/shard.ts';

type Vocabulary = RankShard['vocabulary'];

/** Rows of a step whose logits are computed, in order of the plan. */
export interface WantedRows {
  /** Rows of the step's tensors. */
  readonly rows: readonly number[];
  /** Per row: whether the best id is enough. */
  readonly isBest: readonly boolean[];
}

export function wantedRows(plan: StepPlan): WantedRows {
  const rows: number[] = [];
  const isBest: boolean[] = [];
  let first = 0;
  for (const { tokens, logits } of plan.chunks) {
    const end = first + tokens.length;
    const start = end - rowCount({ logits, tokens });
    for (let row = start; row < end; row++) {
      rows.push(row);
      isBest.push(logits === 'best');
    }
    first = end;
  }
  return { rows, isBest };
}

/** Bytes of a best id and its logit. */
const bestBytes = 8;

/**
 * What a rank contributes for the wanted rows of `logits` [rows, padded]: [logit f32, id i32] for a row whose best is
 * enough, else the shard's logits without padding.
 */
export function encodeShard(logits: Float32Array, { isBest }: WantedRows, vocabulary: Vocabulary): Uint8Array {
  const { padded, count, first } = vocabulary;
  const size = isBest.reduce((sum, best) => sum + (best ? bestBytes : 4 * count), 0);
  const words = new Float32Array(size / 4);
  const ids = new Int32Array(words.buffer);
  let at = 0;
  for (const [i, best] of isBest.entries()) {
    const start = i * padded;
    if (best) {
      const id = bestOf(logits, start, count);
      // A rank may hold padding only.
      words[at] = count > 0 ? logits[start + id]! : Number.NEGATIVE_INFINITY;
      ids[at + 1] = first + id;
      at += 2;
    } else {
      words.set(logits.subarray(start, start + count), at);
      at += count;
    }
  }
  return new Uint8Array(words.buffer);
}

/** The plan's results out of every rank's contribution, in rank order. */
export function decodeShards(
  plan: StepPlan,
  parts: readonly Uint8Array[],
  vocabularies: readonly Vocabulary[],
): readonly ChunkLogits[] {
  const shards = parts.map((part, rank) => new ShardReader(part, vocabularies[rank]!.count));
  const size = vocabularies.reduce((sum, { count }) => sum + count, 0);
  return plan.chunks.map((chunk) => {
    if (rowCount(chunk) === 0) return { kind: 'none' };
    if (chunk.logits === 'best') return bestAmong(shards.map((shard) => shard.best()));
    return { kind: 'rows', rows: Array.from({ length: rowCount(chunk) }, () => joinedRow(shards, size)) };
  });
}

/** As decodeShards for a group of one rank, without a copy. */
export function readAlone(plan: StepPlan, logits: Float32Array, { padded, count }: Vocabulary): readonly ChunkLogits[] {
  let row = 0;
  return plan.chunks.map((chunk) => {
    if (rowCount(chunk) === 0) return { kind: 'none' };
    const start = row * padded;
    row += rowCount(chunk);
    if (chunk.logits === 'best') {
      const token = bestOf(logits, start, count);
      return { kind: 'best', token, logit: logits[start + token]! };
    }
    const rowAt = (i: number) => logits.subarray(start + i * padded, start + i * padded + count);
    return { kind: 'rows', rows: Array.from({ length: rowCount(chunk) }, (_, i) => rowAt(i)) };
  });
}

/** Rows whose logits are computed. */
function rowCount({ logits, tokens }: Pick<SequenceChunk, 'logits' | 'tokens'>): number {
  if (logits === 'all') return tokens.length;
  return logits === 'best' || logits === 'last' ? 1 : 0;
}

/** Index within the shard. */
function bestOf(logits: Float32Array, start: number, count: number): number {
  let best = 0;
  let value = logits[start]!;
  for (let i = 1; i < count; i++) {
    const candidate = logits[start + i]!;
    if (candidate > value) {
      value = candidate;
      best = i;
    }
  }
  return best;
}

interface Best {
  readonly token: number;
  readonly logit: number;
}

function bestAmong(candidates: readonly Best[]): ChunkLogits {
  let best = candidates[0];
  assert(best, 'a group has ranks');
  for (const candidate of candidates) if (candidate.logit > best.logit) best = candidate;
  return { kind: 'best', ...best };
}

function joinedRow(shards: readonly ShardReader[], size: number): Float32Array {
  const row = new Float32Array(size);
  let at = 0;
  for (const shard of shards) {
    const part = shard.row();
    row.set(part, at);
    at += part.length;
  }
  return row;
}

/** Reads one rank's contribution from front to end. */
class ShardReader {
  readonly #words: Float32Array;
  readonly #ids: Int32Array;
  readonly #count: number;
  #at = 0;

  constructor(part: Uint8Array, count: number) {
    this.#words = new Float32Array(part.buffer, part.byteOffset, part.byteLength / 4);
    this.#ids = new Int32Array(part.buffer, part.byteOffset, part.byteLength / 4);
    this.#count = count;
  }

  best(): Best {
    const at = this.#at;
    this.#at += 2;
    return { logit: this.#words[at]!, token: this.#ids[at + 1]! };
  }

  row(): Float32Array {
    const at = this.#at;
    this.#at += this.#count;
    return this.#words.subarray(at, this.#at);
  }
}
