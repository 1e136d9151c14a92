/** Everything that one rank's folder will hold, decided before a weight is read. */
import { unreachable } from '#platform/assert.ts';
import {
  type Activations,
  type AdaptedMatrix,
  type PieceLocation,
  type ShardManifest,
  type VectorLocation,
  vectorNames,
  type WeightFormat,
  withAdapters,
} from '../models/manifest.ts';
import type { OnnxGraph } from '../models/onnx-graph.ts';
import { type Piece, pieceName, piecesOf } from '../models/pieces.ts';
import { chooseSplit, type ExpertSplit, evenRange, type Place, shardOf } from '../models/shard.ts';
import type { AttentionSpec } from '../models/spec.ts';
import { tensorNames } from '../models/tensor-names.ts';
import { cutAlignment, keptBlocks } from './kept-integers.ts';
import { vector } from './matrix.ts';
import { AdapterInputs } from './pieces/adapter-inputs.ts';
import { attentionOutPiece } from './pieces/attention-out.ts';
import { deltaInPiece, deltaPart, deltaPiece } from './pieces/delta.ts';
import { groupedInPiece, groupedNormPiece } from './pieces/grouped.ts';
import { latentInPiece } from './pieces/latent.ts';
import { expertPiece, mlpPiece, routerPiece } from './pieces/mlp.ts';
import type { PiecePlan } from './pieces/piece-plan.ts';
import { embedPiece, finalNormPiece, headPiece } from './pieces/vocabulary.ts';
import { type Bits, blockSize } from './quantise.ts';
import type { StoredIntegers } from './stored/integers.ts';
import type { StoredModel } from './stored-model.ts';
import { type PlannedWeight, WeightLayout } from './weight-layout.ts';

export interface RankPlan {
  readonly shard: ShardManifest;
  /** graphs.bin, piece after piece. */
  readonly graphs: readonly Uint8Array[];
  readonly weights: readonly PlannedWeight[];
}

/** How the large matrices of a package are stored. */
export interface MatrixFormat {
  /** Integers of the checkpoint of so many bits stay as they are, where a rank can hold its part of them. */
  readonly keeps: readonly Bits[];
  /** All others. */
  readonly others: 'float' | Bits;
}

/** Floats have no faster form than float32 on CPU, and widening is exact: of a float checkpoint `native` and `fp32` are the same bytes. */
export const matrixFormats: Readonly<Record<WeightFormat, MatrixFormat>> = {
  native: { keeps: [4, 8], others: 'float' },
  fp32: { keeps: [], others: 'float' },
  int8: { keeps: [8], others: 8 },
  int4: { keeps: [4], others: 4 },
};

/** Quantised experts are sliced at the borders of blocks, or not at all. */
export function splitFor(model: StoredModel, weights: WeightFormat, ranks: number): ExpertSplit {
  const { keeps, others } = matrixFormats[weights];
  const integers = downIntegers(model).filter(({ bits }) => keeps.includes(bits));
  return chooseSplit(model.spec, ranks, Math.max(others === 'float' ? 1 : blockSize, ...integers.map(cutAlignment)));
}

/** Of the matrices that are cut in columns when experts are sliced; those alike count once. */
function downIntegers(model: StoredModel): readonly StoredIntegers[] {
  const kinds = new Map<string, StoredIntegers>();
  for (const [layer, { mlp }] of model.spec.layers.entries()) {
    if (mlp.kind !== 'experts') continue;
    for (let expert = 0; expert < mlp.experts; expert++) {
      const integers = model.integers(tensorNames.layer(layer).expert(expert).down);
      if (integers) kinds.set(`${integers.bits} ${integers.groupSize} ${integers.actOrder}`, integers);
    }
  }
  return [...kinds.values()];
}

export interface PlanOptions extends Place {
  readonly weights: WeightFormat;
  readonly activations: Activations;
}

/** Errors: ILLEGAL_RANK_COUNT. */
export function planRank(model: StoredModel, { weights, activations, ...place }: PlanOptions): RankPlan {
  const { spec } = model;
  const { keeps, others } = matrixFormats[weights];
  const layout = new WeightLayout();
  const shard = shardOf(spec, place, splitFor(model, weights, place.ranks));
  const plan: PiecePlan = {
    spec,
    shard,
    format: others,
    keep: (matrix) => keptBlocks(model, matrix, keeps),
    activations,
    layout,
    adapters: undefined,
  };
  const graphs = new GraphList();
  const adapted: Record<string, readonly AdaptedMatrix[]> = {};
  for (const piece of piecesOf(spec, shard)) {
    const name = pieceName(piece);
    graphs.add(name, buildPiece(plan, piece));
    if (!mayAdapt.has(piece.kind)) continue;
    const adapters = new AdapterInputs();
    const graph = buildPiece({ ...plan, adapters }, piece);
    if (adapters.matrices.length === 0) continue;
    graphs.add(withAdapters(name), graph);
    adapted[withAdapters(name)] = adapters.matrices;
  }
  const vectors = planVectors(plan);
  return {
    shard: { rank: place.rank, weightBytes: layout.bytes, pieces: graphs.pieces, vectors, adapted },
    graphs: graphs.models,
    weights: layout.weights,
  };
}

/** Pieces whose products adapters may change; of experts there are too many for all to have two. */
const mayAdapt: ReadonlySet<Piece['kind']> = new Set(['attention-in', 'attention-out', 'mlp', 'router']);

/** graphs.bin as it grows. */
class GraphList {
  readonly models: Uint8Array[] = [];
  readonly pieces: Record<string, PieceLocation> = {};
  #end = 0;

  add(name: string, graph: OnnxGraph): void {
    const model = graph.encode();
    this.pieces[name] = { offset: this.#end, bytes: model.length };
    this.models.push(model);
    this.#end += model.length;
  }
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

function buildPiece(plan: PiecePlan, piece: Piece): OnnxGraph {
  switch (piece.kind) {
    case 'embed':
      return embedPiece(plan);
    case 'attention-in':
      return attentionInPiece(plan, piece.layer, piece.attention);
    case 'attention-norm':
      return groupedNormPiece(plan, piece.layer, piece.attention);
    case 'delta':
      return deltaPiece(plan, piece.layer, piece.attention);
    case 'attention-out':
      return attentionOutPiece(plan, piece.layer);
    case 'mlp':
      return mlpPiece(plan, piece.layer, piece.joined, piece.mlp);
    case 'router':
      return routerPiece(plan, piece.layer, piece.joined, piece.mlp);
    case 'expert':
      return expertPiece(plan, piece.layer, piece.expert, piece.mlp);
    case 'final-norm':
      return finalNormPiece(plan);
    case 'head':
      return headPiece(plan);
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
