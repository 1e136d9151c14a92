/** Everything that one rank's folder will hold, decided before a weight is read. */
import { assert, unreachable } from '#platform/assert.ts';
import {
  type PieceLocation,
  type ShardManifest,
  type VectorLocation,
  vectorNames,
  type WeightFormat,
} from '../models/manifest.ts';
import type { ExternalRange, OnnxGraph } from '../models/onnx-graph.ts';
import { type Piece, pieceName, piecesOf } from '../models/pieces.ts';
import { chooseSplit, type ExpertSplit, evenRange, type Place, shardOf } from '../models/shard.ts';
import type { AttentionSpec, ModelSpec } from '../models/spec.ts';
import { tensorNames } from '../models/tensor-names.ts';
import { vector } from './matrix.ts';
import { attentionOutPiece } from './pieces/attention-out.ts';
import { deltaInPiece, deltaPart, deltaPiece } from './pieces/delta.ts';
import { groupedInPiece, groupedNormPiece } from './pieces/grouped.ts';
import { latentInPiece } from './pieces/latent.ts';
import { expertPiece, mlpPiece, routerPiece } from './pieces/mlp.ts';
import type { PiecePlan } from './pieces/piece-plan.ts';
import { embedPiece, headPiece } from './pieces/vocabulary.ts';
import { blockSize } from './quantise.ts';
import { type PlannedWeight, WeightLayout } from './weight-layout.ts';

export interface RankPlan {
  readonly shard: ShardManifest;
  /** graphs.bin, piece after piece. */
  readonly graphs: readonly Uint8Array[];
  readonly weights: readonly PlannedWeight[];
}

/**
 * How a format stores the large matrices. A float checkpoint has no faster form than float32 on CPU, and widening is
 * exact, so `native` and `fp32` are the same bytes for it.
 */
export const matrixFormats: Readonly<Record<WeightFormat, PiecePlan['format']>> = {
  native: 'float',
  fp32: 'float',
  int8: 8,
  int4: 4,
};

/** Quantised experts are sliced at the borders of blocks, or not at all. */
export function splitFor(spec: ModelSpec, weights: WeightFormat, ranks: number): ExpertSplit {
  return chooseSplit(spec, ranks, matrixFormats[weights] === 'float' ? 1 : blockSize);
}

/** Errors: ILLEGAL_RANK_COUNT. */
export function planRank(spec: ModelSpec, weights: WeightFormat, place: Place): RankPlan {
  const layout = new WeightLayout();
  const shard = shardOf(spec, place, splitFor(spec, weights, place.ranks));
  const plan: PiecePlan = { spec, shard, format: matrixFormats[weights], layout };
  const graphs: Uint8Array[] = [];
  const pieces: Record<string, PieceLocation> = {};
  let table: ExternalRange | undefined;
  let offset = 0;
  for (const piece of piecesOf(spec, shard)) {
    const built = buildPiece(plan, piece, table);
    table = built.table;
    const model = built.graph.encode();
    pieces[pieceName(piece)] = { offset, bytes: model.length };
    graphs.push(model);
    offset += model.length;
  }
  const vectors = planVectors(plan);
  return {
    shard: { rank: place.rank, weightBytes: layout.bytes, pieces, vectors },
    graphs,
    weights: layout.weights,
  };
}

/** What the rank reads itself, behind the weights of the pieces. */
function planVectors({ spec, shard, layout }: PiecePlan): Record<string, VectorLocation> {
  const vectors: Record<string, VectorLocation> = {};
  const place = (name: string, tensor: string, rows: { first: number; count: number }): void => {
    const { offset } = layout.float(vector(tensor, rows));
    vectors[name] = { offset, count: rows.count };
  };
  for (const [layer, { attention, mlp }] of spec.layers.entries()) {
    const names = tensorNames.layer(layer);
    if (attention.kind === 'grouped' && attention.sinks) {
      place(vectorNames.sinks(layer), names.grouped.sinks, evenRange(attention.heads, shard));
    }
    if (attention.kind === 'delta') {
      const { valueHeads } = deltaPart({ shard }, attention);
      place(vectorNames.decayLog(layer), names.delta.decayLog, valueHeads);
      place(vectorNames.decayBias(layer), names.delta.decayBias, valueHeads);
    }
    if (mlp.kind === 'experts' && mlp.routing.correction) {
      place(vectorNames.correction(layer), names.correction, { first: 0, count: mlp.experts });
    }
  }
  return vectors;
}

interface BuiltPiece {
  readonly graph: OnnxGraph;
  /** The embedding table, from the piece that comes first to the one that comes last. */
  readonly table: ExternalRange | undefined;
}

function buildPiece(plan: PiecePlan, piece: Piece, table: ExternalRange | undefined): BuiltPiece {
  switch (piece.kind) {
    case 'embed':
      return embedPiece(plan);
    case 'attention-in':
      return { graph: attentionInPiece(plan, piece.layer, piece.attention), table };
    case 'attention-norm':
      return { graph: groupedNormPiece(plan, piece.layer, piece.attention), table };
    case 'delta':
      return { graph: deltaPiece(plan, piece.layer, piece.attention), table };
    case 'attention-out':
      return { graph: attentionOutPiece(plan, piece.layer), table };
    case 'mlp':
      return { graph: mlpPiece(plan, piece.layer, piece.joined, piece.mlp), table };
    case 'router':
      return { graph: routerPiece(plan, piece.layer, piece.joined, piece.mlp), table };
    case 'expert':
      return { graph: expertPiece(plan, piece.layer, piece.expert, piece.mlp), table };
    case 'head':
      assert(table, 'the embedding comes before the head');
      return { graph: headPiece(plan, table), table };
    default:
      return unreachable(piece);
  }
}

function attentionInPiece(plan: PiecePlan, layer: number, attention: AttentionSpec): OnnxGraph {
  switch (attention.kind) {
    case 'grouped':
      return groupedInPiece(plan, layer, attention);
    case 'latent':
      return latentInPiece(plan, layer, attention);
    case 'delta':
      return deltaInPiece(plan, layer, attention);
  }
}
