/** Which graph pieces a rank holds, in the order a step runs them. What each computes is said in manifest.ts. */
import { pieceNames } from './manifest.ts';
import { expertRange, type RankShard } from './shard.ts';
import type { AttentionSpec, DeltaSpec, DenseSpec, ExpertsSpec, GroupedSpec, ModelSpec } from './spec.ts';

export type Piece =
  | { readonly kind: 'embed' }
  | { readonly kind: 'attention-in'; readonly layer: number; readonly attention: AttentionSpec }
  | { readonly kind: 'attention-norm'; readonly layer: number; readonly attention: GroupedSpec }
  | { readonly kind: 'delta'; readonly layer: number; readonly attention: DeltaSpec }
  | { readonly kind: 'attention-out'; readonly layer: number }
  /** `joined`: attention-out lies in front of it, in the same graph. */
  | { readonly kind: 'mlp'; readonly layer: number; readonly joined: boolean; readonly mlp: DenseSpec }
  | { readonly kind: 'router'; readonly layer: number; readonly joined: boolean; readonly mlp: ExpertsSpec }
  | { readonly kind: 'expert'; readonly layer: number; readonly expert: number; readonly mlp: ExpertsSpec }
  | { readonly kind: 'final-norm' }
  | { readonly kind: 'head' };

/** Queries and keys are normalised by sums over all ranks, which meet for it. */
export function normsAcrossRanks(attention: AttentionSpec, ranks: number): boolean {
  return attention.kind === 'grouped' && attention.norm === 'whole' && ranks > 1;
}

export function piecesOf(spec: ModelSpec, shard: RankShard): readonly Piece[] {
  const joined = shard.ranks === 1;
  const layers = spec.layers.flatMap(({ attention, mlp }, layer): Piece[] => [
    ...attentionPieces(attention, layer, shard.ranks),
    ...(joined ? [] : [{ kind: 'attention-out', layer } as const]),
    ...(mlp.kind === 'dense'
      ? [{ kind: 'mlp', layer, joined, mlp } as const]
      : expertPieces(mlp, layer, joined, shard)),
  ]);
  return [{ kind: 'embed' }, ...layers, { kind: 'final-norm' }, { kind: 'head' }];
}

function attentionPieces(attention: AttentionSpec, layer: number, ranks: number): Piece[] {
  return [
    { kind: 'attention-in', layer, attention },
    ...(attention.kind === 'grouped' && normsAcrossRanks(attention, ranks)
      ? [{ kind: 'attention-norm', layer, attention } as const]
      : []),
    ...(attention.kind === 'delta' ? [{ kind: 'delta', layer, attention } as const] : []),
  ];
}

function expertPieces(mlp: ExpertsSpec, layer: number, joined: boolean, shard: RankShard): Piece[] {
  const { first, count } = expertRange(mlp, shard);
  const experts = Array.from({ length: count }, (_, i): Piece => ({ kind: 'expert', layer, expert: first + i, mlp }));
  return [{ kind: 'router', layer, joined, mlp }, ...experts];
}

export function pieceName(piece: Piece): string {
  switch (piece.kind) {
    case 'embed':
      return pieceNames.embed;
    case 'attention-in':
      return pieceNames.attentionIn(piece.layer);
    case 'attention-norm':
      return pieceNames.attentionNorm(piece.layer);
    case 'delta':
      return pieceNames.delta(piece.layer);
    case 'attention-out':
      return pieceNames.attentionOut(piece.layer);
    case 'mlp':
      return piece.joined ? pieceNames.attentionOutMlp(piece.layer) : pieceNames.mlp(piece.layer);
    case 'router':
      return piece.joined ? pieceNames.attentionOutRouter(piece.layer) : pieceNames.router(piece.layer);
    case 'expert':
      return pieceNames.expert(piece.layer, piece.expert);
    case 'final-norm':
      return pieceNames.finalNorm;
    case 'head':
      return pieceNames.head;
  }
}
