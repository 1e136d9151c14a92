/** Every tensor that a model of this spec has: its shape, how ranks share it, and how far it may be quantised. */
import type {
  AttentionSpec,
  DeltaSpec,
  ExpertsSpec,
  GroupedSpec,
  IndexerSpec,
  LatentSpec,
  LayerSpec,
  ModelSpec,
} from './spec.ts';
import { biasOf, type LayerNames, type MlpNames, tensorNames } from './tensor-names.ts';

export interface TensorShape {
  readonly name: string;
  readonly shape: readonly number[];
  readonly cut: Cut;
  readonly role: Role;
}

/**
 * How ranks share a tensor: each has all of it; equal parts of its rows (dimension 0) or columns; the rows of its KV heads; its
 * part of the vocabulary; all of it on the first rank only. Experts are cut so when they are sliced; spread, a rank has all
 * of its experts.
 */
export type Cut =
  | 'whole'
  | 'rows'
  | 'columns'
  | 'kv-rows'
  | 'vocabulary'
  | 'first'
  | 'expert-rows'
  | 'expert-columns'
  | 'expert-first';

/**
 * matrix: quantised as the package asks. kept: a matrix that packages keep in float32, since what it yields is multiplied per
 * head, or decides what is looked at. head: the output projection. table: embeddings and routers. small: vectors.
 */
export type Role = 'matrix' | 'kept' | 'head' | 'table' | 'small';

function vector(name: string, cut: Cut, ...shape: readonly number[]): TensorShape {
  return { name, shape, cut, role: 'small' };
}

function matrix(name: string, out: number, inner: number, cut: Cut, role: Role = 'matrix'): TensorShape {
  return { name, shape: [out, inner], cut, role };
}

/** A matrix, and the bias of its rows where it has one. */
function biased(name: string, out: number, inner: number, cut: Cut, bias: boolean): TensorShape[] {
  const weight = matrix(name, out, inner, cut);
  return bias ? [weight, vector(biasOf(name), biasCut[cut] ?? cut, out)] : [weight];
}

/** What is cut in columns yields parts of a sum, to which the bias is added once. */
const biasCut: Partial<Record<Cut, Cut>> = { columns: 'first', 'expert-columns': 'expert-first' };

function groupedTensors(names: LayerNames['grouped'], spec: GroupedSpec, hidden: number): TensorShape[] {
  const { heads, kvHeads, headDim, norm, inputBias, outputBias } = spec;
  const [width, kvWidth] = [heads * headDim, kvHeads * headDim];
  const headNorms = [vector(names.queryNorm, 'whole', headDim), vector(names.keyNorm, 'whole', headDim)];
  const wholeNorms = [vector(names.queryNorm, 'rows', width), vector(names.keyNorm, 'kv-rows', kvWidth)];
  return [
    ...biased(names.query, spec.gated ? 2 * width : width, hidden, 'rows', inputBias),
    ...biased(names.key, kvWidth, hidden, 'kv-rows', inputBias),
    ...biased(names.value, kvWidth, hidden, 'kv-rows', inputBias),
    ...biased(names.output, hidden, width, 'columns', outputBias),
    ...(norm === 'none' ? [] : norm === 'whole' ? wholeNorms : headNorms),
    ...(spec.sinks ? [vector(names.sinks, 'rows', heads)] : []),
  ];
}

function latentTensors(names: LayerNames['latent'], spec: LatentSpec, hidden: number, rotated: number): TensorShape[] {
  const { heads, queryRank, latent, plainDim, valueDim, indexer } = spec;
  const width = heads * (plainDim + rotated);
  const queries =
    queryRank === null
      ? [matrix(names.query, width, hidden, 'rows')]
      : [
          matrix(names.queryDown, queryRank, hidden, 'whole'),
          vector(names.queryNorm, 'whole', queryRank),
          matrix(names.queryUp, width, queryRank, 'rows'),
        ];
  return [
    ...queries,
    matrix(names.keyValueDown, latent + rotated, hidden, 'whole'),
    vector(names.keyValueNorm, 'whole', latent),
    matrix(names.keyValueUp, heads * (plainDim + valueDim), latent, 'rows', 'kept'),
    matrix(names.output, hidden, heads * valueDim, 'columns'),
    ...(indexer?.kind === 'own' ? indexerTensors(names.indexer, indexer, hidden, queryRank ?? hidden) : []),
  ];
}

function indexerTensors(
  names: LayerNames['latent']['indexer'],
  { heads, dim }: IndexerSpec & { kind: 'own' },
  hidden: number,
  queryRank: number,
): TensorShape[] {
  return [
    matrix(names.query, heads * dim, queryRank, 'whole'),
    matrix(names.key, dim, hidden, 'whole', 'kept'),
    vector(names.keyNorm, 'whole', dim),
    vector(biasOf(names.keyNorm), 'whole', dim),
    matrix(names.weights, heads, hidden, 'whole', 'kept'),
  ];
}

/** Rows of `mixed`: queries, keys, values. */
export function mixedWidth({ keyHeads, valueHeads, keyDim, valueDim }: DeltaSpec): number {
  return 2 * keyHeads * keyDim + valueHeads * valueDim;
}

function deltaTensors(names: LayerNames['delta'], spec: DeltaSpec, hidden: number): TensorShape[] {
  const { valueHeads, valueDim, kernel } = spec;
  const values = valueHeads * valueDim;
  return [
    matrix(names.mixed, mixedWidth(spec), hidden, 'rows'),
    matrix(names.gate, values, hidden, 'rows'),
    matrix(names.rate, valueHeads, hidden, 'rows', 'kept'),
    matrix(names.decay, valueHeads, hidden, 'rows', 'kept'),
    vector(names.convolution, 'rows', mixedWidth(spec), 1, kernel),
    vector(names.decayLog, 'rows', valueHeads),
    vector(names.decayBias, 'rows', valueHeads),
    vector(names.norm, 'whole', valueDim),
    matrix(names.output, hidden, values, 'columns'),
  ];
}

function attentionTensors(names: LayerNames, spec: ModelSpec, attention: AttentionSpec): TensorShape[] {
  switch (attention.kind) {
    case 'grouped':
      return groupedTensors(names.grouped, attention, spec.hiddenSize);
    case 'latent':
      return latentTensors(names.latent, attention, spec.hiddenSize, spec.rotary.dims);
    case 'delta':
      return deltaTensors(names.delta, attention, spec.hiddenSize);
  }
}

function denseTensors(names: MlpNames, width: number, hidden: number, bias = false): TensorShape[] {
  return [
    ...biased(names.gate, width, hidden, 'rows', bias),
    ...biased(names.up, width, hidden, 'rows', bias),
    ...biased(names.down, hidden, width, 'columns', bias),
  ];
}

function oneExpert(names: MlpNames, { width, bias }: ExpertsSpec, hidden: number): TensorShape[] {
  return [
    ...biased(names.gate, width, hidden, 'expert-rows', bias),
    ...biased(names.up, width, hidden, 'expert-rows', bias),
    ...biased(names.down, hidden, width, 'expert-columns', bias),
  ];
}

function expertTensors(names: LayerNames, mlp: ExpertsSpec, hidden: number): TensorShape[] {
  const { experts, routing, shared } = mlp;
  return [
    matrix(names.router, experts, hidden, 'whole', 'table'),
    ...(routing.bias ? [vector(biasOf(names.router), 'whole', experts)] : []),
    ...(routing.correction ? [vector(names.correction, 'whole', experts)] : []),
    ...Array.from({ length: experts }, (_, i) => oneExpert(names.expert(i), mlp, hidden)).flat(),
    ...(shared ? denseTensors(names.sharedExpert, shared.width, hidden) : []),
    ...(shared?.gated ? [vector(names.sharedExpertGate, 'whole', 1, hidden)] : []),
  ];
}

function layerTensors(spec: ModelSpec, { attention, mlp }: LayerSpec, layer: number): TensorShape[] {
  const names = tensorNames.layer(layer);
  const hidden = spec.hiddenSize;
  return [
    vector(names.attentionNorm, 'whole', hidden),
    ...attentionTensors(names, spec, attention),
    vector(names.mlpNorm, 'whole', hidden),
    ...(mlp.kind === 'dense'
      ? denseTensors(names.mlp, mlp.width, hidden, mlp.bias)
      : expertTensors(names, mlp, hidden)),
  ];
}

export function expectedTensors(spec: ModelSpec): readonly TensorShape[] {
  const { vocabularySize, hiddenSize } = spec;
  return [
    matrix(tensorNames.embedding, vocabularySize, hiddenSize, 'vocabulary', 'table'),
    ...spec.layers.flatMap((layer, i) => layerTensors(spec, layer, i)),
    vector(tensorNames.finalNorm, 'whole', hiddenSize),
    ...(spec.tiedEmbeddings ? [] : [matrix(tensorNames.head, vocabularySize, hiddenSize, 'vocabulary', 'head')]),
  ];
}
