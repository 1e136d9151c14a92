/** How much memory a rank would need, computed from the spec alone; rank-plan.ts gives the same sizes, plus alignment. */

import type { WeightFormat } from '../models/manifest.ts';
import { evenRange, type RankShard, shardOf } from '../models/shard.ts';
import type { LayerSpec, ModelSpec } from '../models/spec.ts';
import { blocksPerRow, bytesPerBlock } from './quantise.ts';
import { matrixFormats } from './rank-plan.ts';

const floatBytes = Float32Array.BYTES_PER_ELEMENT;

type MatrixFormat = (typeof matrixFormats)[WeightFormat];

function matrixBytes(rows: number, columns: number, format: MatrixFormat): number {
  if (format === 'float') return rows * columns * floatBytes;
  return rows * blocksPerRow(columns) * (bytesPerBlock(format) + floatBytes);
}

function attentionBytes({ attention, hiddenSize }: ModelSpec, shard: RankShard, format: MatrixFormat): number {
  const { headDim, inputBias, outputBias, headNorm } = attention;
  const query = shard.heads.count * headDim;
  const projected = query + 2 * shard.kvHeads.count * headDim;
  const vectors =
    hiddenSize +
    (inputBias ? projected : 0) +
    (outputBias && shard.rank === 0 ? hiddenSize : 0) +
    (headNorm ? 2 * headDim : 0);
  return matrixBytes(projected, hiddenSize, format) + matrixBytes(hiddenSize, query, format) + vectors * floatBytes;
}

function mlpBytes({ mlp }: LayerSpec, hidden: number, shard: RankShard, format: MatrixFormat): number {
  const { count: width } = evenRange(mlp.width, shard.rank, shard.ranks);
  const one = 2 * matrixBytes(width, hidden, format) + matrixBytes(hidden, width, format);
  const norm = hidden * floatBytes;
  if (mlp.kind === 'experts') return norm + mlp.experts * (one + hidden * floatBytes);
  const biases = mlp.bias ? 2 * width + (shard.rank === 0 ? hidden : 0) : 0;
  return norm + one + biases * floatBytes;
}

/** Bytes of weights.bin without the gaps that alignment makes (under 64 bytes a weight). Errors: ILLEGAL_RANK_COUNT. */
export function rankWeightBytes(spec: ModelSpec, weights: WeightFormat, rank: number, ranks: number): number {
  const shard = shardOf(spec, rank, ranks);
  const format = matrixFormats[weights];
  const { padded } = shard.vocabulary;
  const table = matrixBytes(padded, spec.hiddenSize, 'float');
  const head = spec.tiedEmbeddings ? 0 : matrixBytes(padded, spec.hiddenSize, format);
  const layers = spec.layers.reduce(
    (sum, layer) => sum + attentionBytes(spec, shard, format) + mlpBytes(layer, spec.hiddenSize, shard, format),
    0,
  );
  return table + layers + spec.hiddenSize * floatBytes + head;
}

/** Bytes of keys and values that one token takes on a rank, in float32. Errors: ILLEGAL_RANK_COUNT. */
export function kvBytesPerToken(spec: ModelSpec, ranks: number): number {
  const { kvHeads } = shardOf(spec, 0, ranks);
  return 2 * spec.layers.length * kvHeads.count * spec.attention.headDim * floatBytes;
}
