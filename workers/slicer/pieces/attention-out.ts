/** What follows attention of any kind: the context, made ready, and the output projection. */
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { evenRange } from '../../models/shard.ts';
import type { AttentionSpec, GroupedSpec } from '../../models/spec.ts';
import { tensorNames } from '../../models/tensor-names.ts';
import { deltaPart, gatedNorm } from './delta.ts';
import { latentValues } from './latent.ts';
import { addBias, columnsOf, inputRows, linear, outputRows, type PiecePlan } from './piece-plan.ts';

interface Context {
  readonly rows: string;
  /** Width of one of `heads`, which are cut among the ranks. */
  readonly headDim: number;
  readonly heads: number;
  readonly tensor: string;
  readonly bias: boolean;
}

function contextOf(graph: OnnxGraph, plan: PiecePlan, layer: number, attention: AttentionSpec): Context {
  const names = tensorNames.layer(layer);
  switch (attention.kind) {
    case 'grouped':
      return groupedContext(graph, plan, attention, names.grouped.output);
    case 'latent': {
      const { count } = evenRange(attention.heads, plan.shard);
      const context = inputRows(graph, 'context', count * (attention.latent + plan.spec.rotary.dims));
      const rows = latentValues(graph, plan, layer, attention, context);
      const { heads, valueDim: headDim } = attention;
      return { rows, heads, headDim, tensor: names.latent.output, bias: false };
    }
    case 'delta': {
      const { valueWidth } = deltaPart(plan, attention);
      const context = inputRows(graph, 'context', valueWidth);
      const gate = inputRows(graph, 'gate', valueWidth);
      const rows = gatedNorm(graph, plan, layer, attention, { context, gate });
      const { valueHeads: heads, valueDim: headDim } = attention;
      return { rows, heads, headDim, tensor: names.delta.output, bias: false };
    }
  }
}

function groupedContext(graph: OnnxGraph, plan: PiecePlan, spec: GroupedSpec, tensor: string): Context {
  const { heads, headDim, gated, outputBias: bias } = spec;
  const width = evenRange(heads, plan.shard).count * headDim;
  const context = inputRows(graph, 'context', width);
  if (!gated) return { rows: context, heads, headDim, tensor, bias };
  const gate = graph.node('Sigmoid', [inputRows(graph, 'gate', width)]);
  return { rows: graph.node('Mul', [context, gate]), heads, headDim, tensor, bias };
}

/** Context x output projection -> this rank's part of [n, hidden]. A bias is added on one rank. */
export function projectOutput(graph: OnnxGraph, plan: PiecePlan, layer: number, output?: string): string {
  const { hiddenSize, layers } = plan.spec;
  const { rows, heads, headDim, tensor, bias } = contextOf(graph, plan, layer, layers[layer]!.attention);
  const part = evenRange(heads, plan.shard);
  const matrix = columnsOf(tensor, hiddenSize, { first: part.first * headDim, count: part.count * headDim });
  if (!bias || plan.shard.rank !== 0) return linear(graph, plan, rows, matrix, output);
  const product = linear(graph, plan, rows, matrix);
  return addBias(graph, plan, product, tensor, { first: 0, count: hiddenSize }, output);
}

export function attentionOutPiece(plan: PiecePlan, layer: number): OnnxGraph {
  const graph = new OnnxGraph(`layer ${layer} attention-out`);
  projectOutput(graph, plan, layer, 'partial');
  outputRows(graph, 'partial', plan.spec.hiddenSize);
  return graph;
}
