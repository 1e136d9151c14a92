/** The two ends of the model: token ids to residual stream, residual stream to logits. */

import { OnnxGraph } from '../../models/onnx-graph.ts';
import { tensorNames } from '../../models/tensor-names.ts';
import { type Matrix, stack } from '../matrix.ts';
import { norm } from './norm.ts';
import { floatWeight, inputRows, linear, outputRows, type PiecePlan } from './piece-plan.ts';

/** This rank's rows of a [vocabulary, hidden] table, padded with zeros. */
function vocabularyRows({ spec, shard }: PiecePlan, tensor: string): Matrix {
  const { first, count, padded } = shard.vocabulary;
  const columns = { first: 0, count: spec.hiddenSize };
  return stack([{ tensor, rows: { first, count }, columns }], padded);
}

export function embedPiece(plan: PiecePlan): OnnxGraph {
  const { spec } = plan;
  const graph = new OnnxGraph('embed');
  graph.node('Gather', [table(graph, plan), graph.input('ids', 'i64', ['n'])], { axis: 0 }, 'x');
  outputRows(graph, 'x', spec.hiddenSize);
  return graph;
}

function table(graph: OnnxGraph, plan: PiecePlan): string {
  const rows = vocabularyRows(plan, tensorNames.embedding);
  return floatWeight(graph, plan, rows, [rows.rows, rows.columns]);
}

/** The stream behind the last layer, normalised. */
function leave(graph: OnnxGraph, plan: PiecePlan, output?: string): string {
  const { hiddenSize } = plan.spec;
  const stream = graph.node('Add', [inputRows(graph, 'x', hiddenSize), inputRows(graph, 'delta', hiddenSize)]);
  return norm(graph, plan, stream, { tensor: tensorNames.finalNorm, width: hiddenSize }, output);
}

/** What the head multiplies, for whoever wants it itself. */
export function finalNormPiece(plan: PiecePlan): OnnxGraph {
  const graph = new OnnxGraph('final-norm');
  leave(graph, plan, 'hidden');
  outputRows(graph, 'hidden', plan.spec.hiddenSize);
  return graph;
}

/** A tied head multiplies by the embedding table itself, which stays float; one of its own has the plan's format. */
export function headPiece(plan: PiecePlan): OnnxGraph {
  const { spec, shard } = plan;
  const graph = new OnnxGraph('head');
  const normed = leave(graph, plan);
  if (spec.tiedEmbeddings) graph.node('FusedMatMul', [normed, table(graph, plan)], { transB: 1 }, 'logits');
  else linear(graph, plan, normed, vocabularyRows(plan, tensorNames.head), 'logits');
  outputRows(graph, 'logits', shard.vocabulary.padded);
  return graph;
}
