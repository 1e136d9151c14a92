/** Every tensor that a model of this spec has in its checkpoint, with its shape. */
import { familyOf } from './families.ts';
import type { AttentionSpec, ModelSpec } from './spec.ts';
import { biasOf, type LayerNames, type MlpNames } from './tensor-names.ts';

export interface TensorShape {
  readonly name: string;
  readonly shape: readonly number[];
}

/** A matrix [out, in], and its bias where it has one. */
function linear(name: string, out: number, inner: number, bias: boolean): TensorShape[] {
  const weight = { name, shape: [out, inner] };
  return bias ? [weight, { name: biasOf(name), shape: [out] }] : [weight];
}

function attentionTensors(names: LayerNames, attention: AttentionSpec, hidden: number): TensorShape[] {
  const { headDim, inputBias, outputBias } = attention;
  const width = attention.heads * headDim;
  const kvWidth = attention.kvHeads * headDim;
  const headNorms = [names.queryNorm, names.keyNorm].map((name) => ({ name, shape: [headDim] }));
  return [
    { name: names.attentionNorm, shape: [hidden] },
    ...linear(names.query, width, hidden, inputBias),
    ...linear(names.key, kvWidth, hidden, inputBias),
    ...linear(names.value, kvWidth, hidden, inputBias),
    ...linear(names.output, hidden, width, outputBias),
    ...(attention.headNorm ? headNorms : []),
  ];
}

function mlpTensors(names: MlpNames, width: number, hidden: number, bias: boolean): TensorShape[] {
  return [
    ...linear(names.gate, width, hidden, bias),
    ...linear(names.up, width, hidden, bias),
    ...linear(names.down, hidden, width, bias),
  ];
}

export function expectedTensors(spec: ModelSpec): readonly TensorShape[] {
  const { tensors } = familyOf(spec.family);
  const hidden = spec.hiddenSize;
  const layers = spec.layers.flatMap(({ mlp }, layer) => {
    const names = tensors.layer(layer);
    const norm = { name: names.mlpNorm, shape: [hidden] };
    const attention = attentionTensors(names, spec.attention, hidden);
    if (mlp.kind === 'dense') return [...attention, norm, ...mlpTensors(names.mlp, mlp.width, hidden, mlp.bias)];
    const experts = Array.from({ length: mlp.experts }, (_, expert) =>
      mlpTensors(names.expert(expert), mlp.width, hidden, false),
    );
    return [...attention, norm, { name: names.router, shape: [mlp.experts, hidden] }, ...experts.flat()];
  });
  const head = spec.tiedEmbeddings ? [] : linear(tensors.head, spec.vocabularySize, hidden, false);
  return [
    { name: tensors.embedding, shape: [spec.vocabularySize, hidden] },
    ...layers,
    { name: tensors.finalNorm, shape: [hidden] },
    ...head,
  ];
}
