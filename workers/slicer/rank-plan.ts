/** Everything that one rank's folder will hold, decided before a weight is read. */
import { assert, unreachable } from '#platform/assert.ts';
import { familyOf } from '../models/families.ts';
import type { PieceLocation, ShardManifest, WeightFormat } from '../models/manifest.ts';
import type { ExternalRange, OnnxGraph } from '../models/onnx-graph.ts';
import { type Piece, pieceName, piecesOf } from '../models/pieces.ts';
import { shardOf } from '../models/shard.ts';
import type { ModelSpec } from '../models/spec.ts';
import { attentionInPiece, attentionOutPiece } from './pieces/attention.ts';
import { expertPiece, mlpPiece, routerPiece } from './pieces/mlp.ts';
import type { PiecePlan } from './pieces/piece-plan.ts';
import { embedPiece, headPiece } from './pieces/vocabulary.ts';
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

/** Errors: ILLEGAL_RANK_COUNT. */
export function planRank(spec: ModelSpec, weights: WeightFormat, rank: number, ranks: number): RankPlan {
  const names = familyOf(spec.family).tensors;
  const layout = new WeightLayout();
  const shard = shardOf(spec, rank, ranks);
  const plan: PiecePlan = { spec, names, shard, format: matrixFormats[weights], layout };
  const graphs: Uint8Array[] = [];
  const pieces: Record<string, PieceLocation> = {};
  let table: ExternalRange | undefined;
  let offset = 0;
  for (const piece of piecesOf(spec, ranks)) {
    const built = buildPiece(plan, piece, table);
    table = built.table;
    const model = built.graph.encode();
    pieces[pieceName(piece)] = { offset, bytes: model.length };
    graphs.push(model);
    offset += model.length;
  }
  const { heads, kvHeads, vocabulary } = shard;
  return {
    shard: { rank, heads: heads.count, kvHeads: kvHeads.count, vocabulary, weightBytes: layout.bytes, pieces },
    graphs,
    weights: layout.weights,
  };
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
      return { graph: attentionInPiece(plan, piece.layer), table };
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
