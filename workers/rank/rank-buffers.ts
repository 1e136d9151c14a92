/** The memory of one rank's step outside attention, and the inputs and outputs of its pieces (workers/models/manifest.ts). */
import type { ModelSpec } from '../models/spec.ts';
import type { Io, Runtime } from '../runtime/runtime.ts';
import type { AttentionKind } from './attention/attention-kind.ts';
import type { Bound, PieceIo } from './piece-io.ts';
import { Indices, Rows } from './step-tensors.ts';

export type RankBuffers = ReturnType<typeof createRankBuffers>;

/** Two buffers hold the residual stream in turn: `before` enters attention, `after` the MLP. */
export function createRankBuffers(runtime: Runtime, spec: ModelSpec, maxRows: number) {
  const rows = (width: number) => new Rows(runtime, maxRows, width);
  const expertCounts = new Set(spec.layers.flatMap(({ mlp }) => (mlp.kind === 'experts' ? [mlp.experts] : [])));
  const positions = new Indices(runtime, maxRows, (n) => [1, n]);
  for (let i = 0; i < maxRows; i++) positions.data[i] = BigInt(i);
  return {
    before: rows(spec.hiddenSize),
    after: rows(spec.hiddenSize),
    /** What the ranks summed last and nobody has added to the stream yet. */
    delta: rows(spec.hiddenSize),
    hidden: rows(spec.hiddenSize),
    headIn: rows(spec.hiddenSize),
    headDelta: rows(spec.hiddenSize),
    cos: rows(spec.rotary.dims / 2),
    sin: rows(spec.rotary.dims / 2),
    /** By number of experts. */
    scores: new Map([...expertCounts].map((count) => [count, rows(count)])),
    positions,
    ids: new Indices(runtime, maxRows, (n) => [n]),
  };
}

/** Of the pieces behind a layer's attention. Where an output is a part of a sum over ranks, whoever runs it binds it. */
export interface MlpIo {
  /** Absent when joined with what follows. */
  readonly attentionOut: Io | undefined;
  readonly mlp: Io;
}

/** Positions of outputs that are bound at every run. */
export const attentionOutPartial = 0;
export const mlpPartial = 1;
export const routerShared = 3;

export interface MlpShape {
  readonly joined: boolean;
  /** How many the layer's router scores, and whether there is a shared one beside them; undefined in a dense layer. */
  readonly experts: { readonly count: number; readonly shared: boolean } | undefined;
  /** What the two pieces take besides. */
  readonly adapted: { readonly attentionOut: readonly Bound[]; readonly mlp: readonly Bound[] };
}

export function createMlpIo(io: PieceIo, buffers: RankBuffers, attention: AttentionKind, layer: MlpShape): MlpIo {
  const { before, after, delta, hidden, scores } = buffers;
  const context: Bound[] = [['context', attention.context]];
  if (attention.gate) context.push(['gate', attention.gate]);
  const { attentionOut, mlp } = layer.adapted;
  const inputs: Bound[] = layer.joined
    ? [...context, ['x', before]]
    : [
        ['x', before],
        ['delta', delta],
      ];
  const outputs: Bound[] = [['residual', after]];
  if (layer.experts) {
    outputs.push(['hidden', hidden], ['scores', scores.get(layer.experts.count)]);
    if (layer.experts.shared) outputs.push(['shared', undefined]);
  } else outputs.push(['partial', undefined]);
  return {
    attentionOut: layer.joined ? undefined : io.create([...context, ...attentionOut], [['partial', undefined]]),
    mlp: io.create([...inputs, ...mlp], outputs),
  };
}
