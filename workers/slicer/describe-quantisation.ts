/** In words, for a package's provenance: what its numbers were in the checkpoint, and what became of them. */
import type { Activations, Provenance, WeightFormat } from '../models/manifest.ts';
import type { Matrix } from './matrix.ts';
import type { ModelTensors } from './model-tensors.ts';
import { matrixFormats } from './rank-plan.ts';
import type { PlannedWeight } from './weight-layout.ts';
import { isFloatType } from './widen.ts';

/** What became of matrices that the checkpoint stores in integers or with scales, over all ranks. */
export class MatrixTally {
  readonly #tensors: ModelTensors;
  #kept = 0;
  #repeated = 0;
  #dequantised = 0;
  #cut = 0;

  constructor(tensors: ModelTensors) {
    this.#tensors = tensors;
  }

  add(weights: readonly PlannedWeight[]): void {
    for (const weight of weights) {
      if (weight.kind === 'order') continue;
      if (weight.kind !== 'integers' && this.#isCutInside(weight.matrix)) this.#cut++;
      const [first] = weight.matrix.parts;
      const integers = first && this.#tensors.integers(first.tensor);
      if (!integers) continue;
      if (weight.kind !== 'integers') this.#dequantised++;
      else if (weight.kept.blockSize === integers.groupSize) this.#kept++;
      else this.#repeated++;
    }
  }

  #isCutInside({ parts }: Matrix): boolean {
    return parts.some(({ tensor, rows, columns }) => this.#tensors.cutsScaleBlock(tensor, rows, columns));
  }

  /** undefined when every matrix that was dequantised has whole blocks. */
  describeCuts(): string | undefined {
    if (this.#cut === 0) return undefined;
    return `cuts inside scale blocks of ${this.#cut} matrices, each part dequantised with its blocks' scales`;
  }

  /** undefined when no integers were kept. */
  describeKept(): string | undefined {
    const kept = this.#kept + this.#repeated;
    if (kept === 0) return undefined;
    const parts = [`integers of ${kept} matrices kept as stored`];
    if (this.#repeated > 0) parts.push(`scales of ${this.#repeated} repeated in smaller blocks`);
    if (this.#dequantised > 0)
      parts.push(`${this.#dequantised} dequantised that a cut or a product asks for in floats`);
    return parts.join(', ');
  }
}

export interface Conversion {
  readonly weights: WeightFormat;
  readonly activations: Activations;
  /** As the checkpoint stores tensors. */
  readonly stored: readonly string[];
  readonly matrices: MatrixTally;
}

export function describeQuantisation({
  weights,
  activations,
  stored,
  matrices,
}: Conversion): Provenance['quantisation'] {
  const { others } = matrixFormats[weights];
  const kept = matrices.describeKept();
  if (kept === undefined && others === 'float' && stored.every(isFloatType)) {
    return weights === 'fp32' ? 'none: float32' : 'none: weights as the checkpoint has them, widened to float32';
  }
  const rest =
    others === 'float'
      ? 'float32, exactly'
      : `int${others} symmetric, block 32, round to nearest; router, norms and embeddings float`;
  const source = stored.every(isFloatType) ? '' : `from ${stored.join(', ')}: `;
  const sentences = [`${source}${kept === undefined ? '' : `${kept}; other weights `}${rest}`];
  const cuts = matrices.describeCuts();
  if (cuts !== undefined) sentences.push(cuts);
  if (others !== 'float' || kept !== undefined) sentences.push(`products in ${activations}`);
  return sentences.join('; ');
}
