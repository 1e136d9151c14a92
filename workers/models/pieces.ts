/** Which graph pieces a rank holds, in the order a step runs them. What each computes is said in manifest.ts. */
import { pieceNames } from './manifest.ts';
import type { DenseSpec, ExpertsSpec, ModelSpec } from './spec.ts';

export type Piece =
  | { readonly kind: 'embed' }
  | { readonly kind: 'attention-in'; readonly layer: number }
  | { readonly kind: 'attention-out'; readonly layer: number }
  /** `joined`: attention-out lies in front of it, in the same graph. */
  | { readonly kind: 'mlp'; readonly layer: number; readonly joined: boolean; readonly mlp: DenseSpec }
  | { readonly kind: 'router'; readonly layer: number; readonly joined: boolean; readonly mlp: ExpertsSpec }
  | { readonly kind: 'expert'; readonly layer: number; readonly expert: number; readonly mlp: ExpertsSpec }
  | { readonly kind: 'head' };

export function piecesOf(spec: ModelSpec, ranks: number): readonly Piece[] {
  const joined = ranks === 1;
  const layers = spec.layers.flatMap(({ mlp }, layer): Piece[] => [
    { kind: 'attention-in', layer },
    ...(joined ? [] : [{ kind: 'attention-out', layer } as const]),
    ...(mlp.kind === 'dense' ? [{ kind: 'mlp', layer, joined, mlp } as const] : expertPieces(mlp, layer, joined)),
  ]);
  return [{ kind: 'embed' }, ...layers, { kind: 'head' }];
}

function expertPieces(mlp: ExpertsSpec, layer: number, joined: boolean): Piece[] {
  const experts = Array.from({ length: mlp.experts }, (_, expert): Piece => ({ kind: 'expert', layer, expert, mlp }));
  return [{ kind: 'router', layer, joined, mlp }, ...experts];
}

export function pieceName(piece: Piece): string {
  switch (piece.kind) {
    case 'embed':
      return pieceNames.embed;
    case 'attention-in':
      return pieceNames.attentionIn(piece.layer);
    case 'attention-out':
      return pieceNames.attentionOut(piece.layer);
    case 'mlp':
      return piece.joined ? pieceNames.attentionOutMlp(piece.layer) : pieceNames.mlp(piece.layer);
    case 'router':
      return piece.joined ? pieceNames.attentionOutRouter(piece.layer) : pieceNames.router(piece.layer);
    case 'expert':
      return pieceNames.expert(piece.layer, piece.expert);
    case 'head':
      return pieceNames.head;
  }
}
