/**
 * Low-rank adapters (LoRA, arXiv 2106.09685) in a piece: beside each product that may be adapted, a second one through a narrow
 * space in which every adapter has columns of its own, and every row the factors of its adapter and zeros elsewhere. A zero
 * times a number adds nothing, so a row has the same bits whatever adapters the rows beside it have.
 */
import type { AdaptedMatrix } from '../../models/manifest.ts';
import type { OnnxGraph } from '../../models/onnx-graph.ts';
import { isAdaptable } from '../../models/tensor-names.ts';
import type { Matrix } from '../matrix.ts';

/** Columns of all adapters together. */
const width = 'r';
const factors = 'adapter_factors';

export class AdapterInputs {
  /** In the order of their inputs. */
  readonly matrices: AdaptedMatrix[] = [];

  /** rows x down, times each row's factors, x up -> as the product with `matrix`; undefined where adapters have no part. */
  of(graph: OnnxGraph, rows: string, { parts, columns, rows: outputs }: Matrix): string | undefined {
    const [first] = parts;
    if (!first || !isAdaptable(first.tensor)) return undefined;
    if (this.matrices.length === 0) graph.input(factors, 'f32', ['n', width]);
    const index = this.matrices.length;
    this.matrices.push({ tensor: first.tensor, rows: parts.map((part) => part.rows), columns: first.columns });
    const down = graph.input(`adapter_down_${index}`, 'f32', [width, columns]);
    const up = graph.input(`adapter_up_${index}`, 'f32', [width, outputs]);
    // A factor other than 1 keeps lone rows off the matrix-vector path; the factors make up for both halves.
    const half = { alpha: { float: 0.5 } };
    const narrow = graph.node('FusedMatMul', [rows, down], { transB: 1, ...half });
    return graph.node('FusedMatMul', [graph.node('Mul', [narrow, factors]), up], half);
  }
}
