/** Rotary position embedding in a graph: to the operator, one sequence of n positions. */
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import type { RotarySpec } from '../../models/spec.ts';
import { inputRows, type PiecePlan } from './piece-plan.ts';

export interface RotatedHeads {
  readonly heads: number;
  readonly headDim: number;
  readonly pairs: RotarySpec['pairs'];
  /** Distinguishes the graph's constants. */
  readonly name: string;
}

/** Declares cos, sin [n, dims/2] and positions [1, n]. */
export function rotationInputs(graph: OnnxGraph, { spec }: PiecePlan): void {
  inputRows(graph, 'cos', spec.rotary.dims / 2);
  inputRows(graph, 'sin', spec.rotary.dims / 2);
  graph.input('positions', 'i64', [1, 'n']);
}

/** Turns the first dimensions of each head of x [n, heads*headDim], or of the same by heads -> [n, heads*headDim]. */
export function rotate(
  graph: OnnxGraph,
  { spec }: PiecePlan,
  x: string,
  { heads, headDim, pairs, name }: RotatedHeads,
  output?: string,
): string {
  const { dims } = spec.rotary;
  const sequence = graph.node('Reshape', [x, graph.i64(`${name}_sequence`, [1, -1, heads * headDim])]);
  const attributes = {
    num_heads: heads,
    ...(dims === headDim ? {} : { rotary_embedding_dim: dims }),
    ...(pairs === 'neighbours' ? { interleaved: 1 } : {}),
  };
  const turned = graph.node('RotaryEmbedding', [sequence, 'positions', 'cos', 'sin'], attributes);
  return graph.node('Squeeze', [turned, graph.i64(`${name}_axis`, [0])], {}, output);
}
