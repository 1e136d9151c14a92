/** Weights in parts of some rows, small enough for several to be in memory; a part's ranges are where its own bytes go. */
import type { ExternalRange } from '../models/onnx-graph.ts';
import type { Range } from '../models/shard.ts';
import { rowsOf } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import type { PlannedWeight } from './weight-layout.ts';

/** Of stored bytes and of float32 values that a part takes, at most; but always a row. */
const partBytes = 4 << 20;
/** Of codes that are kept. Formats that lie across look at all scales of a matrix for each part. */
const partCodes = 8 << 20;

export interface WeightPart {
  /** All of it. */
  readonly whole: PlannedWeight;
  readonly weight: PlannedWeight;
}

export function* partsOf(weights: readonly PlannedWeight[], tensors: ModelTensors): Generator<WeightPart> {
  for (const whole of weights) {
    if (whole.kind === 'order') {
      yield { whole, weight: whole };
      continue;
    }
    const { rows } = whole.matrix;
    const step = rowsPerPart(whole, tensors);
    for (let first = 0; first < rows; first += step) {
      yield { whole, weight: partOf(whole, { first, count: Math.min(step, rows - first) }) };
    }
  }
}

export type MatrixWeight = Exclude<PlannedWeight, { readonly kind: 'order' }>;

function rowsPerPart({ kind, matrix }: MatrixWeight, tensors: ModelTensors): number {
  if (kind === 'integers') return Math.max(1, Math.floor(partCodes / matrix.columns));
  const stored = matrix.parts.map(({ tensor }) => tensors.rowBytes(tensor));
  return Math.max(1, Math.floor(partBytes / Math.max(matrix.columns * Float32Array.BYTES_PER_ELEMENT, ...stored)));
}

/** These rows of a weight. */
export function partOf(weight: MatrixWeight, rows: Range): MatrixWeight {
  const count = weight.matrix.rows;
  const part = ({ offset, length, location }: ExternalRange): ExternalRange => {
    const width = length / count;
    return { location, offset: offset + rows.first * width, length: rows.count * width };
  };
  const rowsOfIt = { matrix: rowsOf(weight.matrix, rows), values: part(weight.values) };
  switch (weight.kind) {
    case 'float':
      return { ...weight, ...rowsOfIt };
    case 'blocks':
      return { ...weight, ...rowsOfIt, scales: part(weight.scales) };
    case 'integers':
      return { ...weight, ...rowsOfIt, scales: part(weight.scales), zeros: weight.zeros && part(weight.zeros) };
  }
}
