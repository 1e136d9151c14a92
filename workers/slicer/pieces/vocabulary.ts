/** The two ends of the model: token ids to residual stream, residual stream to logits. */

import type { ExternalRange } from '../../models/onnx-graph.ts';
import { OnnxGraph } from '../../models/onnx-graph.ts';
import { tensorNames } from '../../models/tensor-names.ts';
import { type Matrix, stack } from '../matrix.ts';
import { norm } from './norm.ts';
import { inputRows, linear, outputRows, type PiecePlan } from './piece-plan.ts';

/** This rank's rows of a [vocabulary, hidden] table, padded with zeros. */
function vocabularyRows({ spec, shard }: PiecePlan, tensor: string): Matrix {
  const { first, count, padded } = shard.vocabulary;
  const columns = { first: 0, count: spec.hiddenSize };
  return stack([{ tensor, rows: { first, count }, columns }], padded);
}

export interface EmbedPiece {
  readonly graph: OnnxGraph;
  /** Where the table lies, for a head that is tied to it. */
  readonly table: ExternalRange;
}

export function embedPiece(plan: PiecePlan): EmbedPiece {
  const { spec, shard, layout } = plan;
  const graph = new OnnxGraph('embed');
  const table = layout.float(vocabularyRows(plan, tensorNames.embedding));
  const weight = graph.external('table', 'f32', [shard.vocabulary.padded, spec.hiddenSize], table);
  graph.node('Gather', [weight, graph.input('ids', 'i64', ['n'])], { axis: 0 }, 'x');
  outputRows(graph, 'x', spec.hiddenSize);
  return { graph, table };
}

/** A tied head multiplies by the embedding table itself, which stays float; one of its own has the plan's format. */
export function headPiece(plan: PiecePlan, table: ExternalRange): OnnxGraph {
  const { spec, shard } = plan;
  const graph = new OnnxGraph('head');
  const { hiddenSize } = spec;
  const stream = graph.node('Add', [inputRows(graph, 'x', hiddenSize), inputRows(graph, 'delta', hiddenSize)]);
  const normed = norm(graph, plan, stream, { tensor: tensorNames.finalNorm, width: hiddenSize });
  if (spec.tiedEmbeddings) {
    const weight = graph.external('table', 'f32', [shard.vocabulary.padded, hiddenSize], table);
    graph.node('FusedMatMul', [normed, weight], { transB: 1 }, 'logits');
  } else {
    linear(graph, plan, normed, vocabularyRows(plan, tensorNames.head), 'logits');
  }
  outputRows(graph, 'logits', shard.vocabulary.padded);
  return graph;
}
